import { type Request, type Response, Router } from 'express';
import type { Account } from '../accounts/accounts.ts';
import type { Pages } from '../http/pages.ts';
import type { Sessions } from '../sessions/sessions.ts';

export type HomeDependencies = {
  pages: Pages;
  sessions: Pick<Sessions, 'current'>;
  findAccount: (accountId: string) => Promise<Account | undefined>;
  config: {
    issuer: string;
    playground: boolean;
    accountRegistration: string;
    clientRegistration: 'open' | 'token' | 'closed';
  };
};

/** The start page: what this server is, and where to go from here. */
export function homeRoutes({ pages, sessions, findAccount, config }: HomeDependencies): Router {
  const router = Router();
  router.get('/', showHome);
  return router;

  async function showHome(req: Request, res: Response): Promise<void> {
    const session = await sessions.current(req, res);
    const account = session && (await findAccount(session.accountId));
    await pages.page(res, 'index', {
      issuer: config.issuer,
      discoveryUrl: `${config.issuer}/.well-known/openid-configuration`,
      playground: config.playground,
      registration: config.accountRegistration !== 'closed',
      clientRegistration: config.clientRegistration,
      ...(account && { signedIn: { name: account.name, email: account.email } }),
    });
  }
}

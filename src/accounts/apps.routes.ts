import { type Request, type Response, Router } from 'express';
import type { AuditSource } from '../audit/events.ts';
import { auditSource } from '../audit/record.ts';
import { isForm, isPlainText, readBody } from '../http/body.ts';
import { notFound } from '../http/errors.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { type AccountDependencies, noticeOf, requireAccount, signedIn } from './account.routes.ts';

/** A client that the person allowed something, as the account pages list it. */
export type ConnectedApp = {
  clientId: string;
  name: string;
  /** A path on this origin. */
  logoUrl?: string | undefined;
  since: Date;
  /** In plain words. */
  scopes: string[];
};

export type AppsDependencies = AccountDependencies & {
  connectedApps(accountId: string): Promise<ConnectedApp[]>;
  /** Withdraws what the account allowed the client, tokens included. */
  disconnectApp(accountId: string, clientId: string, source: AuditSource): Promise<void>;
};

const notices = { disconnected: 'That app is no longer connected.' };

export function appsRoutes(dependencies: AppsDependencies): Router {
  const { pages, origin, connectedApps, disconnectApp } = dependencies;
  const account = requireAccount(dependencies);
  const router = Router();

  router.get('/account/apps', account, showApps);
  router.post('/account/apps/:client_id/disconnection', sameOrigin(origin), readBody, account, disconnect);

  async function showApps(req: Request, res: Response): Promise<void> {
    const apps = await connectedApps(signedIn(res).id);
    await pages.page(res, 'account-apps', { apps, notice: noticeOf(req, notices) });
  }

  async function disconnect(req: Request<{ client_id: string }>, res: Response): Promise<void> {
    // What PostgreSQL cannot even compare is no client's id.
    if (!isPlainText(req.params.client_id)) throw notFound();
    await disconnectApp(signedIn(res).id, req.params.client_id, auditSource(req as Request, res));
    if (isForm(req as Request)) res.redirect(303, '/account/apps?done=disconnected');
    else res.status(204).end();
  }

  return router;
}

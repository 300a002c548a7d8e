/**
 * Who is signed in in this browser, in the words of the pages. The session itself is the provider's (oidc/); nothing is
 * stored here, and nobody is authenticated here.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BrowserSessions } from '../oidc/browser-session.ts';

export type BrowserSession = { uid: string; accountId: string; loginAt: Date; amr: readonly string[] };

export type Sessions = ReturnType<typeof createSessions>;

export function createSessions(browser: BrowserSessions) {
  return {
    async current(req: IncomingMessage, res: ServerResponse): Promise<BrowserSession | undefined> {
      const session = await browser.current(req, res);
      if (!session) return undefined;
      const { uid, accountId, loginTs, amr } = session;
      return { uid, accountId, loginAt: new Date(loginTs * 1000), amr };
    },
    async signIn(
      req: IncomingMessage,
      res: ServerResponse,
      accountId: string,
      amr: readonly string[],
      stillStands?: () => Promise<boolean>,
    ): Promise<void> {
      await browser.signIn(req, res, { accountId, amr, stillStands });
    },
    async renew(
      req: IncomingMessage,
      res: ServerResponse,
      { uid: renews, accountId }: BrowserSession,
      amr: readonly string[],
      stillStands?: () => Promise<boolean>,
    ): Promise<void> {
      await browser.signIn(req, res, { accountId, amr, renews, stillStands });
    },
    signOut: (req: IncomingMessage, res: ServerResponse): Promise<void> => browser.signOut(req, res),
  };
}

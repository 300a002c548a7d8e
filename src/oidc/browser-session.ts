import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Session } from 'oidc-provider';
import type { Database } from '../db/database.ts';
import { HttpError } from '../http/errors.ts';
import { acrOf } from './acr.ts';
import { longCookie } from './cookies.ts';
import { sessionTtl } from './policy.ts';
import type { ProviderHandle } from './provider.ts';
import { leaveSession } from './session-end.ts';
import { retireSessionId } from './session-store.ts';

/** Who is signed in in this browser. `loginTs` is epoch seconds, `amr` RFC 8176 values. */
export type SignedIn = { uid: string; accountId: string; loginTs: number; amr: readonly string[] };

type LibrarySession = Session & { new?: boolean };

export type SignIn = {
  accountId: string;
  amr: readonly string[];
  /** Asked once the session is stored: whether what proved the person still does. A change under way is waited for. */
  stillStands?: (() => Promise<boolean>) | undefined;
};

/**
 * The provider's own session, from outside its routes: pages, JSON and interactions share one sign-in with every client.
 * Host and protocol of the request must have been set from the issuer.
 * @param deliverLogouts has the logout tokens delivered that an end of a session queued
 */
export function browserSessions(provider: ProviderHandle, db: Database, deliverLogouts: () => void) {
  const open = async (req: IncomingMessage, res: ServerResponse) => {
    const ctx = provider.current.createContext(req, res);
    const session = (await provider.current.Session.get(ctx as never)) as LibrarySession;
    return { ctx, session };
  };
  const cookie = () => provider.current.cookieName('session');

  return {
    async current(req: IncomingMessage, res: ServerResponse): Promise<SignedIn | undefined> {
      if (!req.headers.cookie?.includes(`${cookie()}=`)) return undefined;
      return signedIn((await open(req, res)).session);
    },

    /**
     * The one function that signs a person in. The session keeps its uid and gets a new id; the value that the browser
     * held before leads nowhere from then on (SECURITY 31). For another person all it held ends.
     * @throws {HttpError} 401 when what proved the person does so no longer
     */
    async signIn(req: IncomingMessage, res: ServerResponse, login: SignIn): Promise<SignedIn> {
      const { ctx, session } = await open(req, res);
      if (session.accountId && session.accountId !== login.accountId) {
        await leaveSession(db, session.uid, session.accountId);
        session.authorizations = undefined as never;
        session.state = undefined as never;
      }
      const previousId = session.new ? undefined : session.jti;
      session.loginAccount({ accountId: login.accountId, amr: [...login.amr], acr: acrOf(login.amr) as string });
      if (previousId) session.resetIdentifier();
      await session.save(sessionTtl(session.loginTs));
      if (previousId) await retireSessionId(db, previousId, 0);
      // What was left above, and what a change of the password queued just before.
      deliverLogouts();
      if (login.stillStands && !(await login.stillStands())) {
        await session.destroy();
        ctx.cookies.set(cookie(), null, { ...longCookie });
        throw new HttpError(401, 'invalid_credentials', 'This account changed just now. Sign in again.');
      }
      ctx.cookies.set(cookie(), session.jti, { ...longCookie, expires: new Date((session.exp ?? 0) * 1000) });
      return signedIn(session) as SignedIn;
    },

    /**
     * Ends this browser's session for every client. What clients hold for the time of the session goes with it; what a
     * person allowed while away (offline_access) stays until it is disconnected.
     */
    async signOut(req: IncomingMessage, res: ServerResponse): Promise<void> {
      const { ctx, session } = await open(req, res);
      if (session.accountId) await session.destroy();
      ctx.cookies.set(cookie(), null, { ...longCookie });
    },
  };
}

export type BrowserSessions = ReturnType<typeof browserSessions>;

function signedIn(session: LibrarySession): SignedIn | undefined {
  if (!session.accountId) return undefined;
  return {
    uid: session.uid,
    accountId: session.accountId,
    loginTs: session.loginTs ?? 0,
    amr: (session.amr as string[] | undefined) ?? [],
  };
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Session } from 'oidc-provider';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { HttpError } from '../http/errors.ts';
import { noteSignIn } from './account-sessions.ts';
import { acrOf } from './acr.ts';
import { longCookie } from './cookies.ts';
import { sessionTtl } from './policy.ts';
import type { ProviderHandle } from './provider.ts';
import { requestSource } from './request-source.ts';
import { endSession, leaveSession } from './session-end.ts';
import { retireSessionId } from './session-store.ts';

/** Who is signed in in this browser. `loginTs` is epoch seconds, `amr` RFC 8176 values. */
export type SignedIn = { uid: string; accountId: string; loginTs: number; amr: readonly string[] };

type LibrarySession = Session & { new?: boolean };

export type SignIn = {
  accountId: string;
  amr: readonly string[];
  /** The uid of the session that this renews: it must be this person's still, and nobody is signed in anew. */
  renews?: string | undefined;
  /** Asked once the session is stored: whether what proved the person still does. A change under way is waited for. */
  stillStands?: (() => Promise<boolean>) | undefined;
};

export type SignInAccounts = {
  /** Takes back that the account is to be deleted, if it is and its day has not come. */
  cancelDeletion(accountId: string, source: AuditSource): Promise<unknown>;
  /** Whether the account may be used; a change under way is waited for. */
  isActive(accountId: string): Promise<boolean>;
};

/**
 * The provider's own session, from outside its routes: pages, JSON and interactions share one sign-in with every client.
 * Host and protocol of the request must have been set from the issuer.
 * @param deliverLogouts has the logout tokens delivered that an end of a session queued
 */
export function browserSessions(
  provider: ProviderHandle,
  db: Database,
  deliverLogouts: () => void,
  accounts: SignInAccounts,
) {
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
      const source = requestSource({ req, res });
      // Before anything is stored: one that is asked for meanwhile ends what is stored, or shows below.
      await accounts.cancelDeletion(login.accountId, source);
      const { ctx, session } = await open(req, res);
      if (login.renews && (session.uid !== login.renews || session.accountId !== login.accountId)) {
        throw new HttpError(401, 'login_required', 'You were signed out just now. Sign in again.');
      }
      if (session.accountId && session.accountId !== login.accountId) {
        await leaveSession(db, session.uid, session.accountId, source);
        session.authorizations = undefined as never;
        session.state = undefined as never;
      }
      const previousId = session.new ? undefined : session.jti;
      session.loginAccount({ accountId: login.accountId, amr: [...login.amr], acr: acrOf(login.amr) as string });
      if (previousId) session.resetIdentifier();
      await session.save(sessionTtl(session.loginTs));
      await noteSignIn(db, session.uid, source);
      if (previousId) await retireSessionId(db, previousId, 0);
      // What was left above, and what a change of the password queued just before.
      deliverLogouts();
      if (!(await accounts.isActive(login.accountId)) || (login.stillStands && !(await login.stillStands()))) {
        await session.destroy();
        ctx.cookies.set(cookie(), null, { ...longCookie });
        throw new HttpError(401, 'invalid_credentials', 'This account changed just now. Sign in again.');
      }
      // Nobody holds the new cookie before this is written; who merely confirms a sign-in records that.
      if (!login.renews) {
        const { accountId, amr } = login;
        await record(db, { event: 'login.succeeded', accountId, sessionUid: session.uid, source, details: { amr } });
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
      if (session.accountId) {
        await endSession(db, session.jti, requestSource({ req, res }));
        deliverLogouts();
      }
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

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Session } from 'oidc-provider';
import type { Database } from '../db/database.ts';
import { deleteGrants } from './artifacts.ts';
import { longCookie } from './configuration.ts';
import { sessionTtl } from './policy.ts';
import type { ProviderHandle } from './provider.ts';
import { retireSessionId } from './session-store.ts';

/** Who is signed in in this browser. `loginTs` is epoch seconds, `amr` RFC 8176 values. */
export type SignedIn = { uid: string; accountId: string; loginTs: number; amr: readonly string[] };

type LibrarySession = Session & { new?: boolean };

/**
 * The provider's own session, from outside its routes: pages, JSON and interactions share one sign-in with every client.
 * Host and protocol of the request must have been set from the issuer.
 */
export function browserSessions(provider: ProviderHandle, db: Database) {
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
     * held before leads nowhere from then on (SECURITY 31). For another person all it held is dropped.
     */
    async signIn(
      req: IncomingMessage,
      res: ServerResponse,
      login: { accountId: string; amr: readonly string[] },
    ): Promise<SignedIn> {
      const { ctx, session } = await open(req, res);
      if (session.accountId && session.accountId !== login.accountId) {
        await revokeGrantsOf(db, session);
        session.authorizations = undefined as never;
        session.state = undefined as never;
      }
      const previousId = session.new ? undefined : session.jti;
      session.loginAccount({ accountId: login.accountId, amr: [...login.amr] });
      if (previousId) session.resetIdentifier();
      await session.save(sessionTtl(session.loginTs));
      if (previousId) await retireSessionId(db, previousId, 0);
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
        // First, so that no request still under way can write the session back.
        await session.destroy();
        await revokeGrantsOf(db, session);
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

async function revokeGrantsOf(db: Database, session: LibrarySession): Promise<void> {
  const held = Object.values(session.authorizations ?? {}) as { grantId?: string; persistsLogout?: boolean }[];
  await deleteGrants(
    db,
    held.flatMap(({ grantId, persistsLogout }) => (grantId && !persistsLogout ? [grantId] : [])),
  );
}

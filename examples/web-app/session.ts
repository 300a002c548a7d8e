/**
 * Chapter 5: our own session. The provider has said who it is; from here on the app knows the person by a cookie of its own.
 * The cookie holds a random id and nothing else: tokens and claims stay on this server. Each sign-in gets a new id, so that
 * an id which somebody planted in the browser before never becomes theirs (session fixation).
 */
import { randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import type { IDToken } from 'openid-client';
import { clearCookie, readCookie, setCookie } from './cookies.ts';
import type { Tokens } from './refresh.ts';
import { ShortMemory } from './short-memory.ts';

export type SignedIn = {
  /** The person. Only `sub` is theirs for ever: names and addresses change, and may become somebody else's. */
  sub: string;
  /** Their session at the provider, by which it tells us that it ended. */
  sid: string | undefined;
  claims: IDToken;
  /** From userinfo: what to call them, if they let us know it. */
  name: string;
  /** Handed back as a hint at sign-out. */
  idToken: string;
  tokens: Tokens;
};

export type Session = SignedIn & {
  startedAt: number;
  /** The refresh that is under way, if one is: chapter 7. */
  renewing?: Promise<string> | undefined;
};

const hour = 60 * 60_000;
/** Half an hour unused, half a day at most. */
const sessions = new ShortMemory<Session>({ lifetime: hour / 2, limit: 10_000 });
const atMost = 12 * hour;

/** The session of this browser, which thereby lives on. */
export function findSession(req: Request): Session | undefined {
  const id = readCookie(req, 'session');
  const session = id === undefined ? undefined : sessions.get(id);
  if (id === undefined || !session || session.startedAt + atMost < Date.now()) return undefined;
  sessions.set(id, session);
  return session;
}

/** The session of a finished sign-in. The same person's goes on under the new id and keeps its refresh token. */
export function startSession(req: Request, res: Response, signedIn: SignedIn): void {
  const before = findSession(req);
  endSession(req, res);
  const id = randomBytes(32).toString('base64url');
  if (before?.sub === signedIn.sub) {
    const { refreshToken, ...rest } = signedIn.tokens;
    sessions.set(id, Object.assign(before, signedIn, { tokens: { ...before.tokens, ...rest } }));
    if (refreshToken) before.tokens.refreshToken = refreshToken;
  } else {
    sessions.set(id, { ...signedIn, startedAt: Date.now() });
  }
  setCookie(res, 'session', id);
}

export function endSession(req: Request, res: Response): void {
  sessions.delete(readCookie(req, 'session') ?? '');
  clearCookie(res, 'session');
}

/** Ends every session that this is true of, in whatever browser. */
export function endSessionsWhere(isEnded: (session: Session) => boolean): void {
  for (const [id, session] of sessions.entries()) if (isEnded(session)) sessions.delete(id);
}

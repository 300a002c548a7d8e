/**
 * 8. The session: a random value in the browser's cookie, the rest in KV.
 *
 * - The entry's name is the SHA-256 of the cookie's value: who reads KV cannot sign in with what is there.
 * - The entry is sealed, for its name: it holds a refresh token, good for months, and KV is read by dashboards, API tokens
 *   and backups that never see the Worker's secrets. Nor can an entry be changed, or moved to another name.
 * - KV is eventually consistent: other places may see an older entry for a minute. What that means is said where it matters.
 */
import * as oauth from 'oauth4webapi';
import { clearCookie, readCookie, sessionCookie, setCookie } from './cookies.ts';
import type { Env } from './environment.ts';
import { ProviderAway, refusalOf, relyingParty } from './provider.ts';
import { Refusal } from './refusal.ts';
import { randomSecret, seal, sha256, unseal } from './sealed.ts';

export type Session = {
  sub: string;
  name: string;
  accessToken: string;
  /** In milliseconds since 1970. */
  accessTokenEnds: number;
  /** Only when the person allowed access that lasts (`offline_access`). */
  refreshToken: string | undefined;
  renewals: number;
  /** In seconds since 1970. Renewals do not move it. */
  ends: number;
};

const sessionSeconds = 8 * 3600;
/** A token that ends sooner is renewed first, so that it is good wherever it goes next. */
const renewMs = 60_000;

/** Keeps who signed in; answers the cookie. Always a new value: one that somebody planted before is worth nothing. */
export async function startSession(env: Env, who: { sub: string; name: string }, tokens: oauth.TokenEndpointResponse) {
  const value = randomSecret();
  const ends = Math.floor(Date.now() / 1000) + sessionSeconds;
  await keep(env, await nameOf(value), { ...who, ...tokensOf(tokens), renewals: 0, ends });
  return setCookie(sessionCookie, value, sessionSeconds);
}

/** The session that the request's cookie names. */
export async function readSession(env: Env, request: Request): Promise<Session | undefined> {
  const name = await nameIn(request);
  const sealed = name && (await env.KV.get(name));
  return sealed ? unseal<Session>(env, name, sealed) : undefined;
}

/**
 * The same with an access token that is good, renewed when need be.
 * @throws Refusal without a session, and when it is over at the provider
 */
export async function currentSession(env: Env, request: Request): Promise<Session> {
  const session = await readSession(env, request);
  if (!session) throw new Refusal(401, undefined, 'Sign in, or send an access token.');
  if (session.accessTokenEnds - Date.now() > renewMs) return session;
  if (session.refreshToken) return renew(env, request, session, session.refreshToken);
  if (session.accessTokenEnds > Date.now()) return session;
  return endedAtProvider(env, request);
}

/**
 * RFC 6749 §6. Two requests may do this at once with the same refresh token, here or in two places: there is no lock in KV.
 * The provider rotates refresh tokens and accepts the one before for 10 seconds more (its REFRESH_TOKEN_LEEWAY); both
 * answers are good, and the one that is written last is kept. After that a used token counts as stolen and ends the
 * session. A place that reads an older entry later than that (KV: up to a minute) runs into it, and the person signs in again.
 */
async function renew(env: Env, request: Request, session: Session, refreshToken: string): Promise<Session> {
  try {
    const { as, client, authentication, options } = await relyingParty(env);
    const additionalParameters = { resource: env.RESOURCE };
    const response = await oauth.refreshTokenGrantRequest(as, client, authentication, refreshToken, {
      ...options,
      additionalParameters,
    });
    const tokens = await oauth.processRefreshTokenResponse(as, client, response);
    const renewed = { ...session, ...tokensOf(tokens, refreshToken), renewals: session.renewals + 1 };
    await keep(env, await nameIn(request), renewed);
    return renewed;
  } catch (error) {
    if (error instanceof ProviderAway && session.accessTokenEnds > Date.now()) return session;
    // invalid_grant: signed out everywhere, disconnected, suspended, or the token was used up.
    if (refusalOf(error) === 'invalid_grant') return endedAtProvider(env, request);
    throw error;
  }
}

/** Forgets the session, if there is one; answers what it was. */
export async function endSession(env: Env, request: Request): Promise<Session | undefined> {
  const session = await readSession(env, request);
  if (session) await env.KV.delete(await nameIn(request));
  return session;
}

async function endedAtProvider(env: Env, request: Request): Promise<never> {
  await endSession(env, request);
  throw new Refusal(401, undefined, 'Your sign-in has ended. Sign in again to go on.', {
    cookies: [clearCookie(sessionCookie)],
  });
}

async function keep(env: Env, name: string, session: Session): Promise<void> {
  const left = session.ends - Math.floor(Date.now() / 1000);
  // KV takes no less than a minute; the seal itself ends on time.
  await env.KV.put(name, await seal(env, name, session, session.ends), { expirationTtl: Math.max(left, 60) });
}

function tokensOf(tokens: oauth.TokenEndpointResponse, before?: string) {
  return {
    accessToken: tokens.access_token,
    accessTokenEnds: Date.now() + (tokens.expires_in ?? 0) * 1000,
    refreshToken: tokens.refresh_token ?? before,
  };
}

const nameOf = async (value: string) => `session:${await sha256(value)}`;

async function nameIn(request: Request): Promise<string> {
  const value = readCookie(request, sessionCookie);
  return value ? nameOf(value) : '';
}

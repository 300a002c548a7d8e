/**
 * Chapter 7: the access token wears out. It lives an hour; the refresh token gets the next one, from server to server, without
 * the person noticing (RFC 6749 §6). Each refresh token is good once: the answer brings its successor, and a used one that
 * comes back looks like theft and ends them all (RFC 9700 §4.14.2). So a session has one refresh under way at a time, and
 * pages that load at the same moment share it.
 */
import * as openid from 'openid-client';
import { provider } from './provider.ts';
import type { Session } from './session.ts';
import { renewBefore } from './settings.ts';

export type Tokens = { accessToken: string; expiresAt: number; refreshToken?: string | undefined; renewals: number };

/** There is no way to go on without the person. */
export class VisitEnded extends Error {
  override name = 'VisitEnded';
}

export function tokensOf(answer: openid.TokenEndpointResponse, renewals = 0): Tokens {
  const { access_token: accessToken, refresh_token: refreshToken, expires_in = 0 } = answer;
  return { accessToken, refreshToken, expiresAt: Date.now() + expires_in * 1000, renewals };
}

/** Asks the provider for the person as they are now (OpenID Connect Core §5.3); `sub` has to be theirs, which is checked. */
export async function askUserinfo(session: Session): Promise<openid.UserInfoResponse> {
  const wearsOut = session.tokens.expiresAt - renewBefore * 1000 < Date.now();
  const token = wearsOut ? await renew(session, session.tokens.accessToken) : session.tokens.accessToken;
  try {
    return await openid.fetchUserInfo(provider, token, session.sub);
  } catch (error) {
    // Its time is the provider's to tell, not our clock's: one that is refused is renewed once, too (RFC 6750 §3.1).
    if (!isRefused(error)) throw error;
    return openid.fetchUserInfo(provider, await renew(session, token), session.sub).catch((again: unknown) => {
      throw isRefused(again) ? new VisitEnded('the new access token is refused as well') : again;
    });
  }
}

const isRefused = (error: unknown) => error instanceof openid.WWWAuthenticateChallengeError && error.status === 401;

/** The successor of `worn`, which another page load may have fetched already. */
function renew(session: Session, worn: string): Promise<string> | string {
  if (session.tokens.accessToken !== worn) return session.tokens.accessToken;
  session.renewing ??= refresh(session).finally(() => {
    session.renewing = undefined;
  });
  return session.renewing;
}

async function refresh(session: Session): Promise<string> {
  const { refreshToken, renewals } = session.tokens;
  if (!refreshToken) throw new VisitEnded('no refresh token was granted');
  const answer = await openid.refreshTokenGrant(provider, refreshToken).catch((error: unknown) => {
    // Revoked, run out, or used by somebody else. Anything but this may be over in a minute.
    const isOver = error instanceof openid.ResponseBodyError && error.error === 'invalid_grant';
    throw isOver ? new VisitEnded('the refresh token is no good any more') : error;
  });
  // An ID token that comes along is about the same person (OpenID Connect Core §12.2).
  const sub = answer.claims()?.sub;
  if (sub !== undefined && sub !== session.sub) throw new VisitEnded('the new tokens are somebody else’s');
  session.tokens = { ...tokensOf(answer, renewals + 1), refreshToken: answer.refresh_token ?? refreshToken };
  return session.tokens.accessToken;
}

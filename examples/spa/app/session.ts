/**
 * Chapter 5: the session, which is a variable. Tokens and key are in this module's memory only: not in storage, not in a
 * cookie, not on `window`. A reload forgets them, and main.ts then asks the provider for new ones without a page.
 */
import * as oauth from 'oauth4webapi';
import { rememberSignedIn } from './pending.ts';
import { SignedOutError } from './problems.ts';
import { authentication, client, options, type Provider, withNonce } from './provider.ts';
import { step } from './steps.ts';
import { recordingFetch } from './wire.ts';

type Session = {
  provider: Provider;
  key: oauth.DPoPHandle;
  accessToken: string;
  refreshToken: string | undefined;
  idToken: string;
  sub: string;
};

let session: Session | undefined;

export function openSession(
  opened: Pick<Session, 'provider' | 'key' | 'idToken' | 'sub'> & { tokens: oauth.TokenEndpointResponse },
): void {
  const { tokens, ...rest } = opened;
  session = { ...rest, accessToken: tokens.access_token, refreshToken: tokens.refresh_token };
  rememberSignedIn();
}

export const canRefresh = () => session?.refreshToken !== undefined;

/**
 * Who the person is (OpenID Connect Core §5.3). When the access token has run out, it is replaced and the question
 * asked again.
 * @throws {SignedOutError} when it cannot be replaced
 */
export async function askUserinfo(): Promise<oauth.UserInfoResponse> {
  try {
    return await userinfo();
  } catch (error) {
    if (!isRefused(error)) throw error;
    await refresh();
    return userinfo();
  }
}

function userinfo(): Promise<oauth.UserInfoResponse> {
  const { provider, key, accessToken, sub } = current();
  return step('userinfo', async (seen) => {
    const answer = await withNonce(
      () => oauth.userInfoRequest(provider, client, accessToken, { ...options, DPoP: key }),
      // §5.3.2: claims about anybody else are not used.
      (response) => oauth.processUserInfoResponse(provider, client, sub, response),
    );
    seen.checks.push('sub matches');
    return answer;
  });
}

/**
 * New tokens for the refresh token, which is used up by it (RFC 9700 §4.14.2). It is bound to the key as well, so the
 * proof has to come along.
 * @throws {SignedOutError} when there is none, or the provider takes it no more; everything is forgotten then
 */
export async function refresh(): Promise<void> {
  const { provider, key, refreshToken } = current();
  if (refreshToken === undefined) throw signedOut();
  try {
    const tokens = await step('refresh', () =>
      withNonce(
        () => oauth.refreshTokenGrantRequest(provider, client, authentication, refreshToken, { ...options, DPoP: key }),
        (response) => oauth.processRefreshTokenResponse(provider, client, response),
      ),
    );
    session = {
      ...current(),
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token ?? refreshToken,
    };
  } catch (error) {
    if (error instanceof oauth.ResponseBodyError && error.error === 'invalid_grant') throw signedOut();
    throw error;
  }
}

/** What a thief could do with the access token alone: nothing. For the demonstration only. */
export function tryWithoutKey(): Promise<void> {
  const { provider, accessToken } = current();
  return step('without-key', async (seen) => {
    const headers = { authorization: `Bearer ${accessToken}` };
    const { status } = await recordingFetch(provider.userinfo_endpoint ?? '', { method: 'GET', headers });
    if (status === 401) seen.checks.push('refused');
  });
}

/** Everything is forgotten; what is returned was needed to say goodbye. */
export function forget(): Session | undefined {
  const ended = session;
  session = undefined;
  return ended;
}

function signedOut(): SignedOutError {
  forget();
  return new SignedOutError();
}

function current(): Session {
  if (!session) throw new SignedOutError();
  return session;
}

/** RFC 6750 §3.1, RFC 9449 §7.1: the token is not good any more. */
function isRefused(error: unknown): boolean {
  return error instanceof oauth.WWWAuthenticateChallengeError && error.status === 401;
}

/**
 * 7. The client's side: sends people to the provider, takes them back, signs them out.
 * Authorization code flow with PKCE, state, nonce and `iss` (OpenID Connect Core §3.1, RFC 7636, RFC 9207, RFC 9700).
 */
import * as oauth from 'oauth4webapi';
import { clearCookie, readCookie, sessionCookie, setCookie, signInCookie } from './cookies.ts';
import type { Env } from './environment.ts';
import { redirect } from './http.ts';
import { ProviderAway, refusalOf, relyingParty } from './provider.ts';
import { Refusal } from './refusal.ts';
import { seal, unseal } from './sealed.ts';
import { endSession, startSession } from './session.ts';

/**
 * A sign-in under way. It travels in a sealed cookie and not in KV: what is written there may not be seen yet at the place
 * where the person comes back, and what is deleted may still be seen. So only the browser that began can finish, and the
 * provider sees to "once": it redeems each code one time.
 */
type Pending = { state: string; nonce: string; verifier: string; returnTo: string };

const pendingSeconds = 600;
const scope = 'openid offline_access tides:read tides:report';

/** GET /login */
export async function login(request: Request, env: Env): Promise<Response> {
  const { as, client, authentication, options } = await relyingParty(env);
  const pending: Pending = {
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
    returnTo: localAddress(env, new URL(request.url).searchParams.get('return_to')),
  };
  // Pushed (RFC 9126): what is asked for goes from server to server, where nobody can change it, and a provider that is
  // away or says no is met here, not in the person's browser.
  const parameters = {
    response_type: 'code',
    redirect_uri: `${env.ORIGIN}/callback`,
    scope,
    resource: env.RESOURCE,
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(pending.verifier),
    code_challenge_method: 'S256',
    // A refresh token is given only to who was asked about it (OpenID Connect Core §11).
    prompt: 'consent',
    // The name, and nothing else of the profile.
    claims: JSON.stringify({ id_token: { name: null } }),
  };
  const response = await oauth.pushedAuthorizationRequest(as, client, authentication, parameters, options);
  const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, response);

  const to = new URL(as.authorization_endpoint ?? '');
  to.search = new URLSearchParams({ client_id: client.client_id, request_uri }).toString();
  const ends = Math.floor(Date.now() / 1000) + pendingSeconds;
  return redirect(to.href, setCookie(signInCookie, await seal(env, signInCookie, pending, ends), pendingSeconds));
}

/** GET /callback */
export async function callback(request: Request, env: Env): Promise<Response> {
  const pending = await unseal<Pending>(env, signInCookie, readCookie(request, signInCookie) ?? '');
  if (!pending)
    throw unfinished('This sign-in was finished before, was left for too long, or began in another browser.');
  const { as, client, authentication, options } = await relyingParty(env);
  const over = { cookies: [clearCookie(signInCookie)] };
  try {
    const parameters = oauth.validateAuthResponse(as, client, new URL(request.url), pending.state);
    const response = await oauth.authorizationCodeGrantRequest(
      as,
      client,
      authentication,
      parameters,
      `${env.ORIGIN}/callback`,
      pending.verifier,
      { ...options, additionalParameters: { resource: env.RESOURCE } },
    );
    // The ID token came straight from the token endpoint: TLS vouches for its signature (OpenID Connect Core §3.1.3.7).
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, {
      expectedNonce: pending.nonce,
      requireIdToken: true,
    });
    const claims = oauth.getValidatedIdTokenClaims(tokens);
    const name = typeof claims?.name === 'string' ? claims.name : 'somebody without a name';
    await endSession(env, request);
    const cookie = await startSession(env, { sub: claims?.sub ?? '', name }, tokens);
    return redirect(pending.returnTo, cookie, ...over.cookies);
  } catch (error) {
    const refusal = refusalOf(error);
    // invalid_target: signed in, but allowed nothing of this API.
    if (refusal === 'access_denied' || refusal === 'invalid_target') throw unfinished('You did not allow it.', over);
    if (refusal) throw unfinished(`The provider answered ${refusal}.`, over);
    // A state that is not this browser's, a wrong `iss`, no code: a stranger's doing, so the real sign-in stays possible.
    if (error instanceof oauth.OperationProcessingError)
      throw unfinished(
        'This answer does not belong to the sign-in that was begun last in this browser, perhaps in another tab.',
      );
    throw error;
  }
}

/** POST /logout. Ends the session here, gives the refresh token back, and goes on to sign out at the provider. */
export async function logout(request: Request, env: Env): Promise<Response> {
  const session = await endSession(env, request);
  const cookie = clearCookie(sessionCookie);
  try {
    const { as, client, authentication, options } = await relyingParty(env);
    // RFC 7009: with the refresh token the whole authorization ends.
    if (session?.refreshToken) {
      const response = await oauth.revocationRequest(as, client, authentication, session.refreshToken, options);
      await oauth.processRevocationResponse(response);
    }
    // RP-Initiated Logout §2. `client_id` instead of `id_token_hint`: no token in an address.
    const to = new URL(as.end_session_endpoint ?? '');
    to.search = new URLSearchParams({
      client_id: client.client_id,
      post_logout_redirect_uri: `${env.ORIGIN}/`,
    }).toString();
    return redirect(to.href, cookie);
  } catch (error) {
    if (!(error instanceof ProviderAway)) throw error;
    throw new Refusal(
      503,
      'temporarily_unavailable',
      'The provider cannot be reached, so you may still be signed in there.',
      {
        title: 'You are signed out here',
        cookies: [cookie],
      },
    );
  }
}

/** Only to ourselves, and written out in full: of `/.//evil.example` a bare path would remain that is another site. */
function localAddress(env: Env, path: string | null): string {
  const url = URL.canParse(path ?? '', env.ORIGIN) ? new URL(path ?? '', env.ORIGIN) : undefined;
  return url?.origin === env.ORIGIN ? url.href : `${env.ORIGIN}/`;
}

function unfinished(description: string, more: { cookies?: string[] } = {}): Refusal {
  return new Refusal(400, 'invalid_request', description, { title: 'This sign-in did not work', ...more });
}

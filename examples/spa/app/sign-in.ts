/**
 * Chapter 4: the sign-in. Authorization code flow with PKCE (RFC 7636), `state`, `nonce` (OpenID Connect Core §3.1) and
 * `iss` (RFC 9207), and tokens bound to a key that never leaves this page (RFC 9449).
 */
import * as oauth from 'oauth4webapi';
import { keepSignIn, type PendingSignIn, takeSignedIn } from './pending.ts';
import { authentication, client, discover, options, type Provider, redirectUri, withNonce } from './provider.ts';
import { openSession } from './session.ts';
import { step } from './steps.ts';

/**
 * Sends the browser to the provider. `silent` asks for an answer without a page, which works while the person is signed
 * in there. `stayConnected` asks for a refresh token; people are asked about that each time.
 */
export async function startSignIn({ silent = false, stayConnected = false }): Promise<void> {
  const provider = await step('discovery', () => discover());
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const nonce = oauth.generateRandomNonce();
  const request = new URL(provider.authorization_endpoint ?? '');
  const parameters = {
    client_id: client.client_id,
    response_type: 'code',
    redirect_uri: redirectUri,
    scope: stayConnected ? 'openid profile email offline_access' : 'openid profile email',
    ...(stayConnected && { prompt: 'consent' }),
    ...(silent && { prompt: 'none' }),
    state,
    nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) request.searchParams.set(name, value);
  keepSignIn({ request: request.href, state, nonce, verifier });
  // It is set again when somebody is signed in: a reload tries once, not for ever.
  takeSignedIn();
  // Nobody went anywhere when nobody is asked: the back button then leads to where it would have.
  if (silent) location.replace(request);
  else location.assign(request);
}

/**
 * Takes the answer that the browser brought back, and opens the session.
 * @throws {oauth.AuthorizationResponseError} when the provider said no
 * @throws {oauth.OperationProcessingError} when the answer is not to be trusted
 */
export async function finishSignIn(answer: URLSearchParams, pending: PendingSignIn): Promise<void> {
  const provider = await step('discovery', () => discover());
  await step('request', (seen) => seen.address(new URL(pending.request)));

  const checked = await step('response', (seen) => {
    seen.address(new URL(`${redirectUri}?${answer}`));
    const checked = oauth.validateAuthResponse(provider, client, answer, pending.state);
    seen.checks.push('state matches', 'iss matches');
    return checked;
  });

  // Made now and not before the redirect, so that it is nowhere but in this page's memory, and goes when the tokens go.
  const key = await step('key', async (seen) => {
    const key = oauth.DPoP(client, await oauth.generateKeyPair('ES256', { extractable: false }));
    seen.facts = { thumbprint: await key.calculateThumbprint(), extractable: false };
    return key;
  });

  const { tokens, response } = await step('token', () =>
    withNonce(
      () => redeem(provider, checked, pending.verifier, key),
      async (response) => ({
        response,
        // Checks iss, aud, exp and nonce of the ID token (OpenID Connect Core §3.1.3.7).
        tokens: await oauth.processAuthorizationCodeResponse(provider, client, response, {
          expectedNonce: pending.nonce,
          requireIdToken: true,
        }),
      }),
    ),
  );

  const claims = await step('id-token', async (seen) => {
    // It came from the provider itself, which may be enough over TLS; over http on this machine it is not.
    await oauth.validateApplicationLevelSignature(provider, response, options);
    const claims = oauth.getValidatedIdTokenClaims(tokens);
    if (!claims) throw new Error('there is no ID token');
    seen.claims = claims;
    seen.checks.push('signature verified', 'iss matches', 'aud matches', 'nonce matches', 'not expired');
    return claims;
  });

  openSession({ provider, key, tokens, idToken: tokens.id_token ?? '', sub: claims.sub });
}

function redeem(provider: Provider, checked: URLSearchParams, verifier: string, key: oauth.DPoPHandle) {
  return oauth.authorizationCodeGrantRequest(provider, client, authentication, checked, redirectUri, verifier, {
    ...options,
    DPoP: key,
  });
}

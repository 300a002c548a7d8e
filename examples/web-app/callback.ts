/**
 * Chapter 4: back from the provider. The browser brings a code, or says why there is none. The code means nothing by itself:
 * our server redeems it at the provider's token endpoint, with our secret and the verifier of chapter 3, and gets the tokens
 * in the answer. No token passes through the browser. The person's name is not in the ID token; userinfo has it.
 *
 * `authorizationCodeGrant` checks for us: `state` and `iss` of the answer (RFC 9207), and of the ID token its signature, `iss`,
 * `aud`, `exp`, `nonce`, and with `maxAge` how long ago `auth_time` is (OpenID Connect Core §3.1.3.7).
 */
import type { Request, Response } from 'express';
import * as openid from 'openid-client';
import { isUnavailable } from './ask-provider.ts';
import { showProblem } from './problems.ts';
import { provider } from './provider.ts';
import { tokensOf } from './refresh.ts';
import { findSession, startSession } from './session.ts';
import { baseUrl } from './settings.ts';
import { takePendingSignIn } from './sign-in.ts';

/** `GET /callback?code=…&state=…&iss=…` */
export async function finishSignIn(req: Request, res: Response): Promise<void> {
  const request = takePendingSignIn(req);
  if (!request) return showUsedUp(req, res);
  const tryAgain = { href: request.returnTo, text: 'Try again' };
  res.locals.wayOn = request.returnTo;

  let tokens: Awaited<ReturnType<typeof openid.authorizationCodeGrant>>;
  let userinfo: openid.UserInfoResponse;
  try {
    tokens = await openid.authorizationCodeGrant(provider, new URL(req.originalUrl, baseUrl), {
      expectedState: request.state,
      expectedNonce: request.nonce,
      pkceCodeVerifier: request.verifier,
      idTokenExpected: true,
      ...(request.needs.maxAge !== undefined && { maxAge: request.needs.maxAge }),
    });
    userinfo = await openid.fetchUserInfo(provider, tokens.access_token, tokens.claims()?.sub ?? '');
  } catch (error) {
    // A person who says no has done nothing wrong.
    if (error instanceof openid.AuthorizationResponseError && error.error === 'access_denied') {
      return showDeclined(req, res, tryAgain);
    }
    if (isUnavailable(error)) throw error;
    console.error('a sign-in failed:', reasonOf(error));
    const text = 'The answer that came back was not one we can trust, so we threw it away. Nobody was signed in.';
    return showProblem(res, 400, 'That sign-in didn’t work', text, tryAgain);
  }

  const claims = tokens.claims() as openid.IDToken;
  // What we asked for in the request counts only if the ID token says that it was done.
  if (request.needs.acr && claims.acr !== request.needs.acr) {
    const text = 'This page opens after a sign-in with two steps, and yours had one.';
    return showProblem(res, 403, 'One more step is needed', text, tryAgain);
  }
  startSession(req, res, {
    sub: claims.sub,
    sid: claims.sid as string | undefined,
    claims,
    name: userinfo.name ?? 'reader',
    idToken: tokens.id_token as string,
    tokens: tokensOf(tokens),
  });
  res.redirect(303, request.returnTo);
}

/** Declined at Latchkey: a sign-in, or a step-up of somebody who is signed in and stays so. */
function showDeclined(req: Request, res: Response, tryAgain: { href: string; text: string }): void {
  const session = findSession(req);
  const text = session
    ? `That’s fine. You’re signed in as ${session.name}, as before.`
    : 'That’s fine. We know nothing about you.';
  showProblem(res, 403, session ? 'Nothing has changed' : 'You didn’t sign in', text, tryAgain);
}

/** The back button, a second click, a link that somebody made up, or one that waited too long: nothing is redeemed twice. */
function showUsedUp(req: Request, res: Response): void {
  const session = findSession(req);
  if (session) {
    const text = `You’re signed in as ${session.name}, and nothing has changed.`;
    showProblem(res, 400, 'This sign-in is over', text, { href: '/profile', text: 'Go to your profile' });
  } else {
    const text = 'It was used before, took longer than ten minutes, or began in another browser.';
    showProblem(res, 400, 'This sign-in is over', text, { href: '/sign-in', text: 'Start again' });
  }
}

/** For our log: why, and never a code or a token. */
function reasonOf(error: unknown): string {
  if (error instanceof openid.AuthorizationResponseError || error instanceof openid.ResponseBodyError)
    return error.error;
  return error instanceof Error ? error.message : 'unknown';
}

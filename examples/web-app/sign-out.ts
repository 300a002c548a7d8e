/**
 * Chapter 9: leaving. Our session ends at once, whatever else happens. Then the tokens go back (RFC 7009), because a refresh
 * token with `offline_access` would outlive the session; and the browser goes to the provider, which asks whether to end its
 * session, too (OpenID Connect RP-Initiated Logout 1.0), and sends it back to `/signed-out`.
 */
import { randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import * as openid from 'openid-client';
import { isUnavailable } from './ask-provider.ts';
import { clearCookie, readCookie, setCookie } from './cookies.ts';
import { showProblem } from './problems.ts';
import { provider } from './provider.ts';
import { endSession, findSession } from './session.ts';
import { baseUrl } from './settings.ts';

/** `POST /sign-out`: a form and not a link, so that no picture on another page signs people out. */
export async function signOut(req: Request, res: Response): Promise<void> {
  if (req.headers.origin !== baseUrl) {
    const text = 'The button was on a page of somebody else. You’re as signed in as before.';
    return showProblem(res, 403, 'That wasn’t us asking', text);
  }
  const session = findSession(req);
  endSession(req, res);
  if (!session) return res.redirect(303, '/');

  // A refresh under way brings the token that has to go back.
  await session.renewing?.catch(() => {});
  try {
    await openid.tokenRevocation(provider, session.tokens.refreshToken ?? session.tokens.accessToken);
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    const text = 'Latchkey doesn’t answer, so you may still be signed in there.';
    return showProblem(res, 503, 'You’re signed out of the library', text);
  }
  const state = randomBytes(16).toString('base64url');
  setCookie(res, 'sign_out', state);
  const address = openid.buildEndSessionUrl(provider, {
    // A hint who asks, no key to anything. In a browser's history it is the one token that may be there.
    id_token_hint: session.idToken,
    post_logout_redirect_uri: `${baseUrl}/signed-out`,
    state,
  });
  res.redirect(303, address.href);
}

/** `GET /signed-out?state=…`: only who comes from a sign-out of ours is told that it happened. */
export function showSignedOut(req: Request, res: Response): void {
  const state = readCookie(req, 'sign_out');
  if (state !== undefined && state === req.query.state) {
    clearCookie(res, 'sign_out');
    res.render('signed-out');
  } else {
    res.redirect(303, '/');
  }
}

/**
 * Chapter 3: off to the provider. A sign-in begins here and ends in chapter 4. In between the person is away, and anybody may
 * send a browser to our callback; so we write down what we asked, in whose browser:
 *
 * - `state` finds the request again, and proves that the answer belongs to one of ours (RFC 6749 §10.12),
 * - `code_verifier` (PKCE, RFC 7636) makes a stolen code worthless: only its challenge leaves this server,
 * - `nonce` ties the ID token to this request (OpenID Connect Core §3.1.2.1).
 *
 * The request itself is pushed from server to server (PAR, RFC 9126): the browser carries a reference that nobody can change,
 * and a provider that is away is noticed while we can still say so on a page of ours.
 */
import { randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import * as openid from 'openid-client';
import { readCookie, setCookie } from './cookies.ts';
import { provider } from './provider.ts';
import { findSession } from './session.ts';
import { baseUrl } from './settings.ts';
import { ShortMemory } from './short-memory.ts';

/** What a page may ask of a sign-in: not older than `maxAge` seconds, of the class `acr`. Chapter 8. */
export type Needs = { maxAge?: number; acr?: string };

type PendingSignIn = { browser: string; verifier: string; nonce: string; returnTo: string; needs: Needs };

/** By `state`. Each tab has its own, so several at once do not disturb each other. */
const pending = new ShortMemory<PendingSignIn>({ lifetime: 10 * 60_000, limit: 10_000 });

/** `GET /sign-in?return_to=/history` */
export function showSignIn(req: Request, res: Response): Promise<void> {
  return startSignIn(req, res, localAddress(req.query.return_to));
}

/** Sends the browser to the provider; the person comes back to `returnTo`. */
export async function startSignIn(req: Request, res: Response, returnTo: string, needs: Needs = {}): Promise<void> {
  const [state, nonce, verifier] = [openid.randomState(), openid.randomNonce(), openid.randomPKCECodeVerifier()];
  const address = await openid.buildAuthorizationUrlWithPAR(provider, {
    redirect_uri: `${baseUrl}/callback`,
    response_type: 'code',
    state,
    nonce,
    code_challenge: await openid.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...permission(req),
    ...(needs.maxAge !== undefined && { max_age: String(needs.maxAge) }),
    ...(needs.acr && { claims: JSON.stringify({ id_token: { acr: { essential: true, value: needs.acr } } }) }),
  });
  const browser = readCookie(req, 'browser') ?? randomBytes(32).toString('base64url');
  setCookie(res, 'browser', browser);
  pending.set(state, { browser, verifier, nonce, returnTo, needs });
  res.redirect(303, address.href);
}

/**
 * What we ask to be allowed. A refresh token needs `offline_access`, and that needs `prompt=consent` (OpenID Connect Core
 * §11). Who is signed in here has answered that, and only shows who they are once more.
 */
function permission(req: Request): Record<string, string> {
  if (findSession(req)) return { scope: 'openid profile email' };
  return { scope: 'openid profile email offline_access', prompt: 'consent' };
}

/** The request that an answer belongs to: once, and only in the browser that we sent away. */
export function takePendingSignIn(req: Request): (PendingSignIn & { state: string }) | undefined {
  const { state } = req.query;
  const found = typeof state === 'string' ? pending.get(state) : undefined;
  if (typeof state !== 'string' || found?.browser !== readCookie(req, 'browser')) return undefined;
  return found && pending.take(state) && { ...found, state };
}

/** A `return_to` from the address bar may lead anywhere. Only what is on this origin after the browser's own reading counts. */
function localAddress(wanted: unknown): string {
  const profile = `${baseUrl}/profile`;
  if (typeof wanted !== 'string' || !URL.canParse(wanted, baseUrl)) return profile;
  const { origin, href } = new URL(wanted, baseUrl);
  return origin === baseUrl ? href : profile;
}

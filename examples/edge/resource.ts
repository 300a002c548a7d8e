/**
 * 9. The protected API, `/resource/*`. Two ways in, one check: a program sends its access token (RFC 6750 §2.1); for a
 * browser the token is taken from the session that its cookie names. Either way the token itself decides.
 */
import { type AccessToken, requireScope, verifyAccessToken } from './access-token.ts';
import type { Env } from './environment.ts';
import { json, page, redirect, wantsPage } from './http.ts';
import { tidesPage } from './pages.ts';
import { Refusal } from './refusal.ts';
import { currentSession } from './session.ts';
import { tidesAfter } from './tides.ts';

export type Caller = { token: AccessToken; by: 'bearer' | 'cookie' };
type Reading = { metres: number; at: string };

export async function resource(request: Request, env: Env): Promise<Response> {
  const caller = await identify(request, env);
  const { pathname } = new URL(request.url);
  if (pathname === '/resource/tides' && request.method === 'GET') return tides(request, env, caller);
  if (pathname === '/resource/readings' && request.method === 'POST') return report(request, env, caller);
  throw new Refusal(404, 'not_found', 'There is nothing here.');
}

/** The header counts alone when it is there: what it says is never mended by a cookie. */
async function identify(request: Request, env: Env): Promise<Caller> {
  const bearer = /^Bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
  if (bearer) return { token: await verifyAccessToken(env, bearer), by: 'bearer' };
  if (request.headers.has('authorization')) throw new Refusal(401, undefined, 'Send an access token as Bearer.');
  requireOwnForm(request, env);
  const { accessToken } = await currentSession(env, request);
  return { token: await verifyAccessToken(env, accessToken), by: 'cookie' };
}

/**
 * A browser adds cookies whoever asks; SameSite=Lax keeps other sites out, but not a neighbour of the same site. What
 * changes something therefore comes from a page of ours, which browsers say in `Origin`. A token is sent by nobody unawares.
 */
export function requireOwnForm(request: Request, env: Env): void {
  if (request.method === 'GET' || request.headers.get('origin') === env.ORIGIN) return;
  throw new Refusal(403, 'forbidden', 'This form was sent from another site.', { title: 'Nothing was changed' });
}

/** GET /resource/tides */
async function tides(request: Request, env: Env, caller: Caller): Promise<Response> {
  requireScope(caller.token, 'tides:read');
  const reading = await env.KV.get<Reading>('reading', 'json');
  const next = tidesAfter(new Date());
  return wantsPage(request) ? page(tidesPage(caller, next, reading)) : json({ tides: next, reading });
}

/** POST /resource/readings */
async function report(request: Request, env: Env, caller: Caller): Promise<Response> {
  requireScope(caller.token, 'tides:report');
  const form = await request.formData().catch(() => undefined);
  const metres = Number(form?.get('metres') || Number.NaN);
  if (!(metres >= 0 && metres <= 20)) {
    throw new Refusal(400, 'invalid_request', 'Send metres, a number from 0 to 20.', { title: 'Nothing was reported' });
  }
  const reading: Reading = { metres, at: new Date().toISOString() };
  await env.KV.put('reading', JSON.stringify(reading), { expirationTtl: 86_400 });
  return wantsPage(request) ? redirect(`${env.ORIGIN}/resource/tides`) : json(reading, 201);
}

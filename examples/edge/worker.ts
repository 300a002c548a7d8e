/**
 * Start here. A Cloudflare Worker that is two things to one provider: a confidential client that signs people in, and an
 * API that takes access tokens. Read on in the order of the numbers: environment, cookies, sealed, provider, copy,
 * access-token, sign-in, session, resource.
 */
import type { Env } from './environment.ts';
import { json, page, redirect, wantsPage } from './http.ts';
import { homePage, refusalPage } from './pages.ts';
import { ProviderAway, refusalOf } from './provider.ts';
import { Refusal } from './refusal.ts';
import { requireOwnForm, resource } from './resource.ts';
import { readSession } from './session.ts';
import { callback, login, logout } from './sign-in.ts';
import { style } from './style.ts';

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const response = await route(request, env).catch((error: unknown) => explain(request, error));
    for (const [name, value] of Object.entries(headersFor(env))) response.headers.set(name, value);
    return response;
  },
};

async function route(request: Request, env: Env): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  if (pathname.startsWith('/resource/')) return resource(request, env);
  switch (`${request.method} ${pathname}`) {
    case 'GET /':
      return page(homePage(await readSession(env, request)));
    case 'GET /login':
      // Cookies belong to a host: a sign-in that began at 127.0.0.1 could not end at localhost.
      if (new URL(request.url).origin !== env.ORIGIN) return redirect(`${env.ORIGIN}${pathname}${search}`);
      return login(request, env);
    case 'GET /callback':
      return callback(request, env);
    case 'POST /logout':
      requireOwnForm(request, env);
      return logout(request, env);
    case 'GET /style.css':
      return new Response(style, { headers: { 'content-type': 'text/css; charset=utf-8' } });
  }
  throw new Refusal(404, 'not_found', 'There is nothing here.');
}

/** Every no, as a page or as JSON. Details of what broke go to the log; tokens are in neither. */
function explain(request: Request, error: unknown): Response {
  const refusal = asRefusal(error);
  const { status, message, cookies } = refusal;
  const response = wantsPage(request)
    ? page(refusalPage(refusal, new URL(request.url)), status, cookies)
    : json({ error: refusal.error ?? 'unauthorized', error_description: message }, status, cookies);
  if (status === 401 || refusal.error === 'insufficient_scope')
    response.headers.set('www-authenticate', refusal.challenge());
  if (status === 503) response.headers.set('retry-after', '5');
  return response;
}

function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof ProviderAway) {
    console.warn(`provider away: ${error.message}`);
    return new Refusal(503, 'temporarily_unavailable', 'The provider cannot be reached. Try again in a moment.');
  }
  const refused = refusalOf(error);
  // The stack, not the error: what oauth4webapi adds to some of its errors is the answer itself.
  console.error(refused ? `the provider refused: ${refused}` : error instanceof Error ? error.stack : error);
  if (refused === 'invalid_client') {
    const sentence =
      'The provider does not know Tidewater any more (invalid_client). Whoever runs it has to start it again.';
    return new Refusal(502, 'server_error', sentence);
  }
  if (refused) return new Refusal(502, 'server_error', `The provider refused what Tidewater asked: ${refused}.`);
  return new Refusal(500, 'server_error', 'Something broke here. You did nothing wrong; try again in a moment.');
}

function headersFor(env: Env): Record<string, string> {
  return {
    // The form for signing out is redirected to the provider, which Chromium counts as a target of the form.
    'content-security-policy': `default-src 'none'; style-src 'self'; img-src data:; form-action 'self' ${new URL(env.ISSUER).origin}; base-uri 'none'; frame-ancestors 'none'`,
    'x-content-type-options': 'nosniff',
    // Not no-referrer: then browsers would send `Origin: null` with our own forms.
    'referrer-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
    'strict-transport-security': 'max-age=31536000',
    'cache-control': 'no-store',
  };
}

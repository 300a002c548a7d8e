import type { KoaContextWithOIDC } from 'oidc-provider';
import { unavailable } from '../http/errors.ts';
import { markOutage } from './outage.ts';
import type { LibraryPages } from './pages.ts';
import { publicMetadataPaths } from './public-metadata.ts';

/**
 * What every answer of the library gets: a body even for an unknown path, `no-store` unless it is public metadata, form
 * targets that its own self-submitting pages need, and no automatic error redirect to an application nobody vouches for.
 */
export async function answerMiddleware(
  pages: LibraryPages,
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
): Promise<void> {
  await markOutage(next()).catch((error: Failure) => answerOutage(pages, ctx, error));
  if (!publicMetadataPaths.test(ctx.path)) ctx.set('Cache-Control', 'no-store');
  if (ctx.status === 404 && !ctx.body) return pages.notFound(ctx);
  if (ctx.status === 503) sayUnavailable(ctx);
  describeError(ctx);
  if (isOvertaken(ctx)) await pages.overtaken(ctx);
  await holdErrorRedirect(pages, ctx);
  endUnaskedSignOut(ctx);
  allowFormTarget(ctx);
}

type Failure = Error & { statusCode?: number };

/**
 * The library saves the session when its own error handler is through. An outage then is answered like any other; cookie
 * and address go with it, since what they tell was not stored.
 */
async function answerOutage(pages: LibraryPages, ctx: KoaContextWithOIDC, error: Failure): Promise<void> {
  if (error.statusCode !== 503) throw error;
  ctx.remove('Set-Cookie');
  ctx.remove('Location');
  ctx.status = 503;
  const out = { error: 'server_error' };
  if (ctx.accepts('json', 'html') === 'html') await pages.error(ctx, out, error);
  else ctx.body = out;
  ctx.app.emit('error', error, ctx);
}

/** The library's own words for a fault are "oops!", to people's programs too. */
function sayUnavailable(ctx: KoaContextWithOIDC): void {
  const { code, message, retryAfterSeconds } = unavailable();
  ctx.set('Retry-After', String(retryAfterSeconds));
  if (ctx.response.is('json')) ctx.body = { error: code, error_description: message };
}

/** Some of the library's errors are a code alone; here each comes with a description. */
function describeError(ctx: KoaContextWithOIDC): void {
  const body = ctx.body as { error?: unknown; error_description?: unknown } | undefined;
  if (!ctx.response.is('json') || typeof body?.error !== 'string') return;
  body.error_description ??= body.error.replaceAll('_', ' ');
}

/**
 * Somebody else signed in between the answer to a sign-in and its way back here. The library would sign that person out,
 * by script and without a word.
 */
function isOvertaken({ oidc }: KoaContextWithOIDC): boolean {
  if (oidc?.route !== 'resume' && oidc?.route !== 'device_resume') return false;
  const signedIn = oidc.session?.accountId;
  const login = oidc.entities.Interaction?.result?.login;
  return signedIn !== undefined && login !== undefined && login.accountId !== signedIn;
}

/**
 * RFC 9700 §4.11.2: an error redirect to a client that anybody may have registered is an open redirector, so before
 * sign-in it becomes a page with a link. Silent requests (prompt=none) must get their answer and are let through.
 */
async function holdErrorRedirect(pages: LibraryPages, ctx: KoaContextWithOIDC): Promise<void> {
  const location = ctx.response.get('Location');
  if (!location || !holdsErrors(ctx)) return;
  if (!answeredError(new URL(location, 'http://unused').searchParams)) return;
  ctx.remove('Location');
  ctx.status = 400;
  await pages.heldRedirect(ctx, location);
}

function holdsErrors({ oidc }: KoaContextWithOIDC): boolean {
  if (oidc?.route !== 'authorization' || oidc.client?.unverified !== true) return false;
  return !oidc.session?.accountId && oidc.params?.prompt !== 'none';
}

/**
 * Called with an error before it is answered. One that will be held is answered in the query, whichever response mode
 * was asked for: fragments and forms that send themselves would redirect just as well.
 */
export function answerHeldErrorInQuery(ctx: KoaContextWithOIDC): void {
  const { params } = ctx.oidc;
  if (params && holdsErrors(ctx))
    params.response_mode = /jwt$/.test(String(params.response_mode)) ? 'query.jwt' : 'query';
}

export type AnsweredError = { error: string; error_description: string };

/** The error that an authorization response tells, plainly or inside a JWT of our own making (JARM §2.1). */
export function answeredError(answer: URLSearchParams): AnsweredError | undefined {
  const signed = answer.has('error') ? undefined : answer.get('response')?.split('.')[1];
  const told = signed ? JSON.parse(Buffer.from(signed, 'base64url').toString()) : Object.fromEntries(answer);
  return told.error && { error: told.error, error_description: told.error_description ?? '' };
}

/**
 * Where nobody is signed in, the library's sign-out asks nothing and goes on by script. Anybody can link to a registered
 * address, so without a word of the client's own, an ID token (RP-Initiated Logout §3), it ends on our page.
 */
function endUnaskedSignOut(ctx: KoaContextWithOIDC): void {
  const { oidc } = ctx;
  if (oidc?.route !== 'end_session' || ctx.status !== 200 || oidc.session?.accountId) return;
  if (!oidc.client || !oidc.params?.post_logout_redirect_uri || oidc.entities.IdTokenHint) return;
  const page = new URL(oidc.urlFor('end_session_success'));
  page.searchParams.set('client_id', oidc.client.clientId);
  ctx.status = 303;
  ctx.redirect(page.href);
}

/** `form-action` also governs where the answer to a form redirects; both targets were checked against registration. */
function allowFormTarget(ctx: KoaContextWithOIDC): void {
  const policy = ctx.response.get('Content-Security-Policy');
  if (!policy || !ctx.response.is('html') || !ctx.oidc?.client) return;
  const { params, route, client, redirectUriCheckPerformed } = ctx.oidc;
  // An error may come before the library's own check, and its self-submitting answer all the same.
  const isRedirectUriGood = () => redirectUriCheckPerformed || client?.redirectUriAllowed(String(params?.redirect_uri));
  if (route === 'end_session' ? ctx.status !== 200 : !isRedirectUriGood()) return;
  const source = formActionSource(route === 'end_session' ? params?.post_logout_redirect_uri : params?.redirect_uri);
  if (source) ctx.set('Content-Security-Policy', policy.replace(/form-action 'self'/, `form-action 'self' ${source}`));
}

/** The CSP source that covers `uri`: its origin, or its scheme when it belongs to a native app. */
export function formActionSource(uri: unknown): string | undefined {
  if (typeof uri !== 'string' || !URL.canParse(uri)) return undefined;
  const { protocol, origin } = new URL(uri);
  return protocol === 'http:' || protocol === 'https:' ? origin : protocol;
}

import { createHash } from 'node:crypto';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { jwksMaxAgeSeconds } from '../keys/key-lifetimes.ts';

/** JWKS, discovery and its RFC 8414 twin: the same for everybody. */
export const publicMetadataPaths = /^\/(jwks|\.well-known\/.*)$/;

/**
 * Public metadata may be kept by anybody for some minutes, and then asked for again by ETag (RFC 9110 §13.1.2). For no
 * longer than keys wait to be used: a copy never lacks the key of a token.
 */
export async function cachePublicMetadata(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> {
  await next();
  if (!publicMetadataPaths.test(ctx.path) || ctx.status !== 200 || !ctx.body) return;
  ctx.set('Cache-Control', `public, max-age=${jwksMaxAgeSeconds}`);
  const etag = `"${createHash('sha256').update(JSON.stringify(ctx.body)).digest('base64url').slice(0, 22)}"`;
  ctx.set('ETag', etag);
  if (names(ctx.get('If-None-Match'), etag)) ctx.status = 304;
}

/** Koa's `fresh` says no to `Cache-Control: no-cache`, a word to caches on the way, which `fetch` adds by itself. */
function names(ifNoneMatch: string, etag: string): boolean {
  const tags = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes(etag) || tags.includes('*');
}

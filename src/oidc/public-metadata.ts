import { createHash } from 'node:crypto';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { jwksMaxAgeSeconds } from '../keys/key-lifetimes.ts';

/** JWKS, discovery and its RFC 8414 twin: the same for everybody. */
export const publicMetadataPaths = /^\/(jwks|\.well-known\/.*)$/;

const told = ['Access-Control-Allow-Origin', 'Cache-Control', 'Content-Type', 'ETag', 'Vary'];

/** An answer as it was given before. `isKnownTo` reads If-None-Match. */
export type KeptAnswer = { headers: Map<string, string>; body: Buffer; isKnownTo(ifNoneMatch: string): boolean };

export type PublicMetadata = {
  /** By its path below the mount; what nobody asked for yet is not there. */
  kept(path: string): KeptAnswer | undefined;
  middleware(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void>;
};

/**
 * Public metadata may be kept by anybody for some minutes, and then asked for again by ETag (RFC 9110 §13.1.2). For no
 * longer than keys wait to be used: a copy never lacks the key of a token. It is the same for as long as its provider is,
 * so here it is kept, too; not what was said to another origin (CORS).
 */
export function createPublicMetadata(): PublicMetadata {
  const answers = new Map<string, KeptAnswer>();
  return {
    kept: (path) => answers.get(path),
    async middleware(ctx, next) {
      await next();
      if (!publicMetadataPaths.test(ctx.path) || ctx.status !== 200 || !ctx.body) return;
      const body = Buffer.from(JSON.stringify(ctx.body));
      const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
      const isKnownTo = (ifNoneMatch: string) => names(ifNoneMatch, etag);
      ctx.set('Cache-Control', `public, max-age=${jwksMaxAgeSeconds}`);
      ctx.set('ETag', etag);
      // The addresses in it are made of the one that was asked. Other spellings of that have no end: they are not kept.
      if (!ctx.get('Origin') && (ctx.req as { originalUrl?: string }).originalUrl === `/oidc${ctx.path}`) {
        const headers = new Map(told.map((name) => [name, ctx.response.get(name)]));
        answers.set(ctx.path, { headers, body, isKnownTo });
      }
      if (isKnownTo(ctx.get('If-None-Match'))) ctx.status = 304;
    },
  };
}

/** Koa's `fresh` says no to `Cache-Control: no-cache`, a word to caches on the way, which `fetch` adds by itself. */
function names(ifNoneMatch: string, etag: string): boolean {
  const tags = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes(etag) || tags.includes('*');
}

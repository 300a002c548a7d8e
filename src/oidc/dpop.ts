/** DPoP (RFC 9449): who must bring a nonce, and which proofs come too early. Everything else about proofs is the library's. */
import { type Configuration, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { isFapiClient, isFromTheFuture } from './fapi.ts';

type DPoPFeature = NonNullable<NonNullable<Configuration['features']>['dPoP']>;

/**
 * @param nonceSecret 32 bytes, the same on every instance: nonces are computed from it and the time, and stored nowhere
 */
export function dPoPFeature(nonceSecret: Buffer): DPoPFeature {
  return {
    enabled: true,
    nonceSecret,
    requireNonce(ctx) {
      const { client } = ctx.oidc;
      if (isFapiClient(client) && isFromTheFuture(proofClaims(ctx))) {
        throw new errors.InvalidDpopProof('the DPoP proof comes from the future');
      }
      return client?.dpop_require_nonce === true;
    },
  };
}

/**
 * At userinfo the client becomes known only through the access token, when the proof was accepted already; this asks
 * again. The answer carries a nonce by then, since the library offers one to every proof without.
 * @throws {errors.UseDpopNonce}
 */
export function requireNonceAtUserinfo(ctx: KoaContextWithOIDC): void {
  if (ctx.oidc.route !== 'userinfo' || ctx.oidc.client?.dpop_require_nonce !== true || !ctx.get('DPoP')) return;
  if (!proofClaims(ctx).nonce) throw new errors.UseDpopNonce('nonce is required in the DPoP proof');
}

/** What a proof claims, believed by nobody: its signature is the library's to verify. */
function proofClaims(ctx: KoaContextWithOIDC): Record<string, unknown> {
  try {
    const claims: unknown = JSON.parse(Buffer.from(ctx.get('DPoP').split('.')[1] ?? '', 'base64url').toString());
    return typeof claims === 'object' && claims !== null ? (claims as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

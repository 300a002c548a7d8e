/**
 * Keys that a client proves to hold in a token request: with a DPoP proof (RFC 9449) or the certificate of its TLS
 * connection (RFC 8705). The library does this for its own grants and hands none of it to others.
 */
import { createHash, type X509Certificate } from 'node:crypto';
import { type AccessToken, type Client, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { readClientCertificate } from '../http/client-certificate.ts';
import { verifyDpopProof } from '../keys/dpop-proof.ts';
import type { MutualTls } from './mtls.ts';
import type { PresentedToken } from './presented-tokens.ts';

export type ProvenKeys = { jkt: string | undefined; certificate: X509Certificate | undefined };

/** As long as the library remembers proofs, and longer than one is good. */
const rememberedSeconds = 600;

/** @throws for a proof that does not hold or was seen before, and for one that is missing though the client must have it */
export async function findProvenKeys(ctx: KoaContextWithOIDC, mtls: MutualTls | undefined): Promise<ProvenKeys> {
  const client = ctx.oidc.client as Client;
  const jkt = ctx.get('DPoP') ? await findProvenKey(ctx, client) : undefined;
  const certificate = mtls && readClientCertificate(ctx.req, mtls.certHeader);
  if (client.dpopBoundAccessTokens && !jkt) throw new errors.InvalidGrant('DPoP proof JWT not provided');
  if (client.tlsClientCertificateBoundAccessTokens && !certificate) {
    throw new errors.InvalidGrant('mutual TLS client certificate not provided');
  }
  return { jkt, certificate };
}

async function findProvenKey(ctx: KoaContextWithOIDC, client: Client): Promise<string> {
  if (client.dpop_require_nonce === true) {
    // Nonces are made and checked inside the library, for its own grants only.
    throw new errors.InvalidRequest('token exchange is not for clients with dpop_require_nonce');
  }
  const proof = await verifyDpopProof(ctx.get('DPoP'), ctx.oidc.urlFor('token'));
  if (!proof) throw new errors.InvalidDpopProof('the DPoP proof is not valid for this request');
  const { ReplayDetection } = ctx.oidc.provider;
  const until = Math.floor(Date.now() / 1000) + rememberedSeconds;
  const isNew = await ReplayDetection.unique(client.clientId, proof.jti, until);
  if (!isNew) throw new errors.InvalidGrant('DPoP proof JWT Replay detected');
  return proof.thumbprint;
}

/**
 * RFC 8693 does not say what a bound token is worth to others; here it is worth nothing. Else whoever stole it would
 * exchange the key away.
 */
export function requireKeysOf({ jkt, x5t }: PresentedToken, keys: ProvenKeys): void {
  if (jkt !== undefined && jkt !== keys.jkt) {
    throw new errors.InvalidRequest('the token is bound to a DPoP key that this request does not prove');
  }
  if (x5t !== undefined && x5t !== (keys.certificate && thumbprintOf(keys.certificate))) {
    throw new errors.InvalidRequest('the token is bound to a certificate that this request does not come with');
  }
}

/** Binds a new token to the keys, and to a certificate only where the client or the token it was made of asks for that. */
export function bindTo(token: AccessToken, { jkt, certificate }: ProvenKeys, subject: PresentedToken): void {
  if (jkt) token.setThumbprint('jkt', jkt);
  const wanted = subject.x5t !== undefined || token.client?.tlsClientCertificateBoundAccessTokens;
  if (certificate && wanted) token.setThumbprint('x5t', certificate);
}

/** RFC 8705 §3.1. */
function thumbprintOf({ raw }: X509Certificate): string {
  return createHash('sha256').update(raw).digest('base64url');
}

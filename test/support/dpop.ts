/** A client's own key and what it proves with it (RFC 9449). */
import { createHash, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';

export type ProofKey = Awaited<ReturnType<typeof createProofKey>>;

export async function createProofKey() {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = await exportJWK(publicKey);
  return {
    thumbprint: await calculateJwkThumbprint(jwk),
    /** A proof for a POST to `url`; `claims` replace what it says, and `header` what its header says. */
    async prove(url: string, claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) {
      const said = { jti: randomUUID(), htm: 'POST', htu: url, iat: Math.floor(Date.now() / 1000), ...claims };
      return new SignJWT(said).setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk, ...header }).sign(privateKey);
    },
  };
}

/** RFC 9449 §4.2: what binds a proof to the access token it comes with. */
export function ath(accessToken: string): string {
  return createHash('sha256').update(accessToken).digest('base64url');
}

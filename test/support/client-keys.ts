/** Keys of a client of its own, as a relying party would make them. */
import { randomUUID } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

export type ClientKeys = { privateKey: CryptoKey; kid: string; alg: string; jwk: JWK };

export async function createClientKeys(alg = 'ES256'): Promise<ClientKeys> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const kid = randomUUID();
  return { privateKey, kid, alg, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

/** A JWT of the client's; an undefined claim is left out. */
export function signWith(
  { privateKey, kid, alg }: ClientKeys,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
): Promise<string> {
  return new SignJWT({ ...claims }).setProtectedHeader({ alg, kid, ...header }).sign(privateKey);
}

export function epoch(): number {
  return Math.floor(Date.now() / 1000);
}

/** The claims of a client assertion that is in order (RFC 7523 §3). */
export function assertionClaims(clientId: string, issuer: string): Record<string, unknown> {
  return { iss: clientId, sub: clientId, aud: issuer, jti: randomUUID(), iat: epoch(), exp: epoch() + 60 };
}

export const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

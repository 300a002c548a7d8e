import { createHash } from 'node:crypto';
import { decodeJwt, verifyJwtSignature } from '../keys/verify-jwt.ts';
import type { IdTokenFindings } from './steps.ts';

export type Expected = {
  issuer: string;
  clientId: string;
  /** Undefined where none was sent. */
  nonce: string | undefined;
  accessToken: string;
  /** Of the first ID token, when this one came by refresh (OIDC Core §12.2). */
  sub?: string | undefined;
};

/** Checks an ID token as OIDC Core §3.1.3.7 asks of a client, and says how each check came out. */
export async function checkIdToken(
  token: string,
  jwks: unknown,
  expected: Expected,
  now = new Date(),
): Promise<IdTokenFindings> {
  const signature = await verifyJwtSignature(token, jwks);
  const { header, claims } = decodeJwt(token) ?? { header: {}, claims: {} };
  const audience = [claims.aud].flat();
  const results: Record<string, boolean> = {
    iss: claims.iss === expected.issuer,
    sub: typeof claims.sub === 'string' && (expected.sub === undefined || claims.sub === expected.sub),
    aud: audience.includes(expected.clientId),
    exp: typeof claims.exp === 'number' && claims.exp * 1000 > now.getTime(),
    iat: typeof claims.iat === 'number',
  };
  if (expected.nonce !== undefined) results.nonce = claims.nonce === expected.nonce;
  if (audience.length > 1 || claims.azp !== undefined) results.azp = claims.azp === expected.clientId;
  if (claims.at_hash !== undefined)
    results.at_hash = claims.at_hash === accessTokenHash(expected.accessToken, header.alg);
  return { token, signature, claims: results };
}

export function isGood({ signature, claims }: IdTokenFindings): boolean {
  return signature.valid && Object.values(claims).every(Boolean);
}

/** `at_hash` (OIDC Core §3.1.3.6): the left half of a hash of the access token, by the algorithm of the signature. */
export function accessTokenHash(accessToken: string, alg: unknown): string {
  const bits = /^(?:EdDSA|Ed25519)$/.test(String(alg)) ? '512' : (/(256|384|512)$/.exec(String(alg))?.[1] ?? '256');
  const digest = createHash(`sha${bits}`).update(accessToken).digest();
  return digest.subarray(0, digest.length / 2).toString('base64url');
}

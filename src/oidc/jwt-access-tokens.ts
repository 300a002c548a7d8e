/**
 * Our access tokens in JWT form (RFC 9068). They are not stored, so each is judged by what it says, by its signature, and
 * by whether the grant that it hangs on is still there.
 */
import type { Grant, Provider } from 'oidc-provider';
import { decodeJwt, verifyJwtSignature } from '../keys/verify-jwt.ts';

export type JwtAccessToken = Record<string, unknown> & {
  sub: string;
  client_id: string;
  aud: string;
  iat: number;
  exp: number;
  jti: string;
  scope?: string;
  cnf?: { jkt?: string; 'x5t#S256'?: string };
};

/** RFC 9068 §4: only this type is an access token; an ID token, or whatever else we sign, is none. */
export function isJwtAccessToken(value: string): boolean {
  return isAccessTokenType(decodeJwt(value)?.header.typ);
}

function isAccessTokenType(typ: unknown): boolean {
  return /^(application\/)?at\+jwt$/i.test(String(typ));
}

/** Its claims, if it is ours and has not run out; what it hangs on is not looked at. */
export async function readJwtAccessToken(
  value: string,
  { issuer, jwks }: { issuer: string; jwks: { keys: object[] } },
): Promise<JwtAccessToken | undefined> {
  const { header, claims } = decodeJwt(value) ?? {};
  if (!isAccessTokenType(header?.typ) || claims?.iss !== issuer || typeof claims.aud !== 'string') return undefined;
  if (!(Number(claims.exp) > Date.now() / 1000)) return undefined;
  return (await verifyJwtSignature(value, jwks)).valid ? (claims as JwtAccessToken) : undefined;
}

/**
 * The grant that a token hangs on, if that is still the one it was made from. `issuedAt`, in seconds of the epoch, is for a
 * token in JWT form: a stored one went with its grant, and its clock may have been behind that of the grant.
 */
export async function findGrantOfToken(
  provider: Provider,
  { grantId, clientId, issuedAt }: { grantId: string; clientId: string; issuedAt?: number | undefined },
): Promise<(Grant & { accountId: string }) | undefined> {
  const grant = await provider.Grant.find(grantId);
  // A grant that was revoked and given again has the same id, and nothing of before belongs to it.
  if (!grant?.accountId || grant.clientId !== clientId) return undefined;
  if (issuedAt !== undefined && issuedAt < (grant.iat ?? 0)) return undefined;
  return grant as Grant & { accountId: string };
}

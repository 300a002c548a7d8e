/**
 * 6. The API's side: is this access token (RFC 9068) good, and good for this? Decided at the edge by the provider's
 * published keys, without asking anybody.
 */
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose';
import { createCopy } from './copy.ts';
import type { Env } from './environment.ts';
import { discover, reach } from './provider.ts';
import { Refusal } from './refusal.ts';

type LocalKeys = ReturnType<typeof createLocalJWKSet>;
export type AccessToken = JWTPayload & { sub: string; exp: number; client_id: string; scopes: string[] };

/**
 * Five minutes is what the provider counts on: it publishes a key that long before it signs, and a key that it revoked
 * is refused here so much later. When it is away the copy serves for ten more, the lifetime of the last token that it issued.
 */
const keys = createCopy<LocalKeys>({ freshMs: 300_000, usableMs: 900_000 });

/** @throws Refusal unless the token was issued by the provider for this API, and has not expired */
export async function verifyAccessToken(env: Env, token: string): Promise<AccessToken> {
  const load = () => loadKeys(env);
  try {
    const { payload } = await check(env, token, await keys.get(load)).catch(async (error: unknown) => {
      // A key that is not in the copy: rotated in haste, or made up by a stranger. The copy has a cool-down for strangers.
      const newer = error instanceof errors.JWKSNoMatchingKey && (await keys.renew(load));
      if (newer) return check(env, token, newer);
      throw error;
    });
    // Bound to a key (RFC 9449 §7.2): without the proof of that key, which this API does not take, somebody stole it.
    if (payload.cnf) throw invalidToken('The access token is bound to a key, and came without proof of it.');
    return { ...payload, scopes: payload.scope?.split(' ') ?? [] };
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw invalidToken('The access token has expired.');
    if (error instanceof errors.JOSEError)
      throw invalidToken('The access token is not one of the provider for this API.');
    throw error;
  }
}

/** @throws Refusal (RFC 6750 §3.1: 403) when the token is good, but for other things */
export function requireScope(token: AccessToken, scope: string): void {
  if (token.scopes.includes(scope)) return;
  throw new Refusal(403, 'insufficient_scope', `This needs the scope ${scope}.`, { scope });
}

/** Everything is said beforehand, nothing is taken from the token: who issued it, for whom, its type, its algorithm. */
function check(env: Env, token: string, keySet: LocalKeys) {
  return jwtVerify<{ sub: string; exp: number; client_id: string; scope?: string; cnf?: object }>(token, keySet, {
    issuer: env.ISSUER,
    audience: env.RESOURCE,
    typ: 'at+jwt',
    algorithms: ['ES256'],
    requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id'],
  });
}

async function loadKeys(env: Env) {
  const { jwks_uri: address = '' } = await discover(env);
  return createLocalJWKSet((await (await reach(address)).json()) as JSONWebKeySet);
}

const invalidToken = (description: string) => new Refusal(401, 'invalid_token', description);

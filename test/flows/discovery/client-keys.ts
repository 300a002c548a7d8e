/** Keys of a client, and what it signs with them. */
import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { type JWK, SignJWT } from 'jose';

export type ClientKey = { privateKey: KeyObject; publicJwk: JWK };

export function createClientKeys(): Record<'rsa' | 'ec' | 'ed25519', ClientKey> {
  return {
    rsa: asClientKey('rsa', generateKeyPairSync('rsa', { modulusLength: 2048 })),
    ec: asClientKey('ec', generateKeyPairSync('ec', { namedCurve: 'P-256' })),
    ed25519: asClientKey('ed25519', generateKeyPairSync('ed25519')),
  };
}

function asClientKey(
  kid: string,
  { privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject },
): ClientKey {
  return { privateKey, publicJwk: { ...(publicKey.export({ format: 'jwk' }) as JWK), kid, use: 'sig' } };
}

/** A JWT good for a minute, with an id of its own. */
export function signAs(
  { privateKey, publicJwk }: ClientKey,
  alg: string,
  claims: Record<string, unknown>,
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ jti: randomUUID(), iat: now, nbf: now, exp: now + 60, ...claims })
    .setProtectedHeader({ alg, kid: publicJwk.kid as string })
    .sign(privateKey);
}

/** RFC 9449 §4.2. */
export function proveAs(
  { privateKey, publicJwk }: ClientKey,
  alg: string,
  claims: { htm: string; htu: string; ath?: string; nonce?: string },
): Promise<string> {
  const { kid: _kid, use: _use, ...jwk } = publicJwk;
  return new SignJWT({ jti: randomUUID(), iat: Math.floor(Date.now() / 1000), ...claims })
    .setProtectedHeader({ alg, typ: 'dpop+jwt', jwk })
    .sign(privateKey);
}

import { createPrivateKey, type KeyObject } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';

/**
 * The algorithms that have keys, each of its own. RS256 because every client can verify it and it is the default of
 * OpenID Connect; its key also signs PS256. ES256 and EdDSA (Ed25519) because they are small and fast.
 */
export const keyAlgorithms = ['RS256', 'ES256', 'EdDSA'] as const;

export type KeyAlgorithm = (typeof keyAlgorithms)[number];

/** A private JWK with `kid` (RFC 7638 thumbprint) and `use: sig`, and the algorithm in whose ring it is. */
export type KeyPair = { kid: string; alg: KeyAlgorithm; privateJwk: JWK };

const rsaBits = 2048;

export async function generateKey(alg: KeyAlgorithm): Promise<KeyPair> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true, modulusLength: rsaBits });
  return keyPairOf(await exportJWK(privateKey), alg);
}

/** Reads an unencrypted PKCS#8 PEM. Undefined unless it is a key that `usableAlgorithm` takes. */
export async function readPem(pem: string): Promise<KeyPair | undefined> {
  const key = pem.trimStart().startsWith('-----BEGIN PRIVATE KEY-----') ? parsePem(pem) : undefined;
  const alg = key && usableAlgorithm(key);
  return alg && keyPairOf(await exportJWK(key), alg);
}

function parsePem(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

/** What a private key signs with: RSA of 2048 bits or more, EC P-256 or Ed25519. Undefined for any other. */
function usableAlgorithm(key: KeyObject): KeyAlgorithm | undefined {
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return modulusLength >= rsaBits ? 'RS256' : undefined;
    case 'ec':
      return namedCurve === 'prime256v1' ? 'ES256' : undefined;
    case 'ed25519':
      return 'EdDSA';
    default:
      return undefined;
  }
}

async function keyPairOf(jwk: JWK, alg: KeyAlgorithm): Promise<KeyPair> {
  const kid = await calculateJwkThumbprint(jwk);
  return { kid, alg, privateJwk: { ...jwk, alg, use: 'sig', kid } };
}

/** A JWK without its private members (RFC 7518 §6). */
export function publicPart(jwk: JWK): Record<string, unknown> {
  const { d, p, q, dp, dq, qi, ...rest } = jwk;
  return rest;
}

import type { JWK } from 'jose';
import type { Database } from '../db/database.ts';
import { DecryptionError, type Encryption } from './encryption.ts';
import { type KeyAlgorithm, type KeyPair, keyAlgorithms, readPem } from './key-pairs.ts';
import { fillRing, keyPurpose, lacks, type RingKey, ringKeys } from './key-ring.ts';

/** A private JWK with `kid` and `use: sig`. An RSA key names no `alg`, since it signs RS256 and PS256. */
export type SigningKey = JWK & { kid: string };

/**
 * All published keys, the one that signs first for each algorithm. A key brought from outside (`pem`) signs for its
 * algorithm and is not stored; the ring serves the others, and is begun when it is empty. An RSA key takes its time, so
 * the one that is to wait is left to `tendRing`.
 * @throws {DecryptionError} when the stored keys cannot be opened
 */
export async function loadSigningKeys(
  db: Database,
  encryption: Encryption,
  pem: string | undefined,
): Promise<SigningKey[]> {
  const brought = await readBroughtKey(pem);
  const algorithms = ringAlgorithms(brought);
  let keys = await ringKeys(db);
  if (lacks(keys, algorithms).some(({ state }) => state === 'current')) {
    await fillRing(db, encryption, algorithms, ({ alg, state }) => state === 'current' || alg !== 'RS256');
    keys = await ringKeys(db);
  }
  const stored = published(keys, brought).map((key) => asSigningKey(open(encryption, key), key.alg));
  return brought ? [asSigningKey(brought.privateJwk, brought.alg), ...stored] : stored;
}

/** The `kid` of every key that `loadSigningKeys` would answer, in its order, without opening any. */
export async function signingKeyIds(db: Database, pem: string | undefined): Promise<string[]> {
  const brought = await readBroughtKey(pem);
  const stored = published(await ringKeys(db), brought).map(({ kid }) => kid);
  return brought ? [brought.kid, ...stored] : stored;
}

/** The key in JWKS_PRIVATE_KEY, whose text the configuration has checked. */
export async function readBroughtKey(pem: string | undefined): Promise<KeyPair | undefined> {
  return pem === undefined ? undefined : readPem(pem);
}

/** The algorithms whose keys are made and rotated here. */
export function ringAlgorithms(brought: KeyPair | undefined): KeyAlgorithm[] {
  return keyAlgorithms.filter((alg) => alg !== brought?.alg);
}

function published(keys: readonly RingKey[], brought: KeyPair | undefined): RingKey[] {
  return keys.filter(({ kid, state }) => state !== 'revoked' && kid !== brought?.kid);
}

function open(encryption: Encryption, { kid, privateJwkEncrypted }: RingKey): JWK {
  try {
    return JSON.parse(encryption.decrypt(privateJwkEncrypted ?? '', keyPurpose(kid))) as JWK;
  } catch (cause) {
    throw new DecryptionError(
      'The signing keys in the database cannot be opened: OIDC_ENCRYPTION_KEY is not the key they were stored under.',
      { cause },
    );
  }
}

function asSigningKey({ alg: _, ...jwk }: JWK, alg: string): SigningKey {
  return { ...jwk, ...(alg !== 'RS256' && { alg }) } as SigningKey;
}

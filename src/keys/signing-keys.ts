import { createPrivateKey } from 'node:crypto';
import { asc, sql } from 'drizzle-orm';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import type { Database } from '../db/database.ts';
import { signingKeys } from '../db/schema.ts';
import { DecryptionError, type Encryption } from './encryption.ts';

/** RS256 because every client can verify it and it is the default of OpenID Connect; ES256 because it is small and fast. */
const generatedAlgorithms = ['RS256', 'ES256'] as const;

const purpose = (kid: string) => `signing-key:${kid}`;

/** A private JWK with `kid` (RFC 7638 thumbprint), `alg` and `use: sig`. */
export type SigningKey = JWK & { kid: string; alg: string };

/**
 * All signing keys, the one that signs first for each algorithm. A key brought from outside (`pem`) signs for its
 * algorithm and is not stored; for the algorithms it does not cover keys are made once and kept encrypted, so that
 * tokens verify after a restart and on every instance. Throws when the stored keys cannot be opened.
 */
export async function loadSigningKeys(
  db: Database,
  encryption: Encryption,
  pem: string | undefined,
): Promise<SigningKey[]> {
  const brought = pem === undefined ? [] : [await importSigningKey(pem)];
  const stored = await readStoredKeys(db, encryption);
  const covered = new Set([...brought, ...stored].map(({ alg }) => alg));
  const missing = generatedAlgorithms.filter((alg) => !covered.has(alg));
  const keys = missing.length > 0 ? await generateMissingKeys(db, encryption, missing) : stored;
  const kids = new Set(brought.map(({ kid }) => kid));
  return [...brought, ...keys.filter(({ kid }) => !kids.has(kid))];
}

/** Reads a PKCS#8 PEM, RSA (used with RS256) or EC P-256 (ES256), as a signing key. */
async function importSigningKey(pem: string): Promise<SigningKey> {
  const key = createPrivateKey(pem);
  return asSigningKey(await exportJWK(key), key.asymmetricKeyType === 'rsa' ? 'RS256' : 'ES256');
}

async function asSigningKey(jwk: JWK, alg: string): Promise<SigningKey> {
  return { ...jwk, alg, use: 'sig', kid: await calculateJwkThumbprint(jwk) };
}

async function readStoredKeys(db: Database, encryption: Encryption): Promise<SigningKey[]> {
  const rows = await db.select().from(signingKeys).orderBy(asc(signingKeys.createdAt));
  return rows.map(({ kid, privateJwkEncrypted }) => {
    try {
      return JSON.parse(encryption.decrypt(privateJwkEncrypted, purpose(kid))) as SigningKey;
    } catch (cause) {
      throw new DecryptionError(
        'The signing keys in the database cannot be opened: OIDC_ENCRYPTION_KEY is not the key they were stored under.',
        { cause },
      );
    }
  });
}

/** Two instances starting together take turns, and the second finds the first one's keys. */
async function generateMissingKeys(
  db: Database,
  encryption: Encryption,
  algorithms: readonly string[],
): Promise<SigningKey[]> {
  return db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(hashtext('latchkey:signing-keys'))`);
    const existing = await readStoredKeys(tx, encryption);
    const present = new Set(existing.map(({ alg }) => alg));
    for (const alg of algorithms.filter((algorithm) => !present.has(algorithm))) {
      const { privateKey } = await generateKeyPair(alg, { extractable: true, modulusLength: 2048 });
      const key = await asSigningKey(await exportJWK(privateKey), alg);
      await tx.insert(signingKeys).values({
        kid: key.kid,
        alg,
        state: 'current',
        publicJwk: publicPart(key),
        privateJwkEncrypted: encryption.encrypt(JSON.stringify(key), purpose(key.kid)),
      });
      existing.push(key);
    }
    return existing;
  });
}

function publicPart(key: SigningKey): Record<string, unknown> {
  const { d, p, q, dp, dq, qi, ...rest } = key;
  return rest;
}

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { signingKeys } from '../../src/db/schema.ts';
import { createEncryption, DecryptionError } from '../../src/keys/encryption.ts';
import { loadSigningKeys, signingKeyIds } from '../../src/keys/signing-keys.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

let database: OpenTestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

const encryption = createEncryption([randomBytes(32)]);

test('keys are made once for each algorithm, and every instance finds the same ones', async () => {
  const loaded = await Promise.all([1, 2, 3].map(() => loadSigningKeys(database.db, encryption, undefined)));
  for (const keys of loaded) {
    expect(keys).toEqual(loaded[0]);
    for (const key of keys) expect(key.kid).toBe(await calculateJwkThumbprint(key));
  }
  const rows = await database.db.select().from(signingKeys);
  // The RSA key that waits takes time to make, which no start pays.
  expect(rows.map(({ alg, state }) => `${alg} ${state}`).sort()).toEqual([
    'ES256 current',
    'ES256 next',
    'EdDSA current',
    'EdDSA next',
    'RS256 current',
  ]);
  expect(await signingKeyIds(database.db, undefined)).toEqual(loaded[0]?.map(({ kid }) => kid));
});

test('the database holds no private part in clear (SECURITY 57)', async () => {
  const keys = await loadSigningKeys(database.db, encryption, undefined);
  const rows = JSON.stringify(await database.db.select().from(signingKeys));
  for (const key of keys) for (const part of [key.d, key.p, key.q]) if (part) expect(rows).not.toContain(part);
});

test('another encryption key is refused with the name of the variable', async () => {
  await loadSigningKeys(database.db, encryption, undefined);
  const other = createEncryption([randomBytes(32)]);
  await expect(loadSigningKeys(database.db, other, undefined)).rejects.toThrow(DecryptionError);
  await expect(loadSigningKeys(database.db, other, undefined)).rejects.toThrow(/OIDC_ENCRYPTION_KEY/);
});

test.each([
  ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['EC', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ['OKP', () => generateKeyPairSync('ed25519')],
] as const)('a key brought from outside signs first among the %s keys and is not stored', async (kty, make) => {
  const pem = make().privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  const keys = await loadSigningKeys(database.db, encryption, pem);
  const stored = (await database.db.select().from(signingKeys)).map(({ kid }) => kid);
  expect(keys[0]?.kty).toBe(kty);
  expect(stored).not.toContain(keys[0]?.kid);
  expect(new Set(keys.map((key) => key.kty))).toEqual(new Set(['RSA', 'EC', 'OKP']));
  expect(await signingKeyIds(database.db, pem)).toEqual(keys.map(({ kid }) => kid));
});

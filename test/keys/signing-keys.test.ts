import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type OpenDatabase, openDatabase } from '../../src/db/database.ts';
import { signingKeys } from '../../src/db/schema.ts';
import { createEncryption, DecryptionError } from '../../src/keys/encryption.ts';
import { loadSigningKeys } from '../../src/keys/signing-keys.ts';
import { createTestDatabase } from '../support/database.ts';

let database: OpenDatabase;
let drop: () => Promise<void>;

beforeAll(async () => {
  const created = await createTestDatabase();
  database = openDatabase(created.url);
  drop = created.drop;
});
afterAll(async () => {
  await database.close();
  await drop();
});

const encryption = createEncryption([randomBytes(32)]);

test('keys are made once, RS256 and ES256, and every instance finds the same ones', async () => {
  const loaded = await Promise.all([1, 2, 3].map(() => loadSigningKeys(database.db, encryption, undefined)));
  for (const keys of loaded) {
    expect(keys.map(({ alg }) => alg).sort()).toEqual(['ES256', 'RS256']);
    expect(keys.map(({ kid }) => kid).sort()).toEqual(loaded[0]?.map(({ kid }) => kid).sort());
    for (const key of keys) expect(key.kid).toBe(await calculateJwkThumbprint(key));
  }
});

test('the database holds no private part in clear (SECURITY 57)', async () => {
  const keys = await loadSigningKeys(database.db, encryption, undefined);
  const rows = JSON.stringify(await database.db.select().from(signingKeys));
  for (const key of keys) expect(rows).not.toContain(key.d);
});

test('another encryption key is refused with the name of the variable', async () => {
  await loadSigningKeys(database.db, encryption, undefined);
  const other = createEncryption([randomBytes(32)]);
  await expect(loadSigningKeys(database.db, other, undefined)).rejects.toThrow(DecryptionError);
  await expect(loadSigningKeys(database.db, other, undefined)).rejects.toThrow(/OIDC_ENCRYPTION_KEY/);
});

test.each([
  ['RS256', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['ES256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
] as const)(
  'a key brought from outside signs first for %s, and the other algorithm stays available',
  async (alg, make) => {
    const pem = make().privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    const keys = await loadSigningKeys(database.db, encryption, pem);
    const stored = (await database.db.select().from(signingKeys)).map(({ kid }) => kid);
    expect(keys[0]?.alg).toBe(alg);
    expect(stored).not.toContain(keys[0]?.kid);
    expect(new Set(keys.map((key) => key.alg))).toEqual(new Set(['RS256', 'ES256']));
  },
);

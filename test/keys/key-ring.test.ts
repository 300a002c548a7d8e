/** The rules of the key ring, with a frozen clock: what may happen when, and that nothing is ever half done. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { asc, eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { openDatabase } from '../../src/db/database.ts';
import { apis, auditEvents, signingKeys } from '../../src/db/schema.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import {
  after,
  jwksMaxAgeSeconds,
  publishedBeforeUseSeconds,
  signsForSeconds,
  verifiesForSeconds,
} from '../../src/keys/key-lifetimes.ts';
import { type KeyPair, readPem } from '../../src/keys/key-pairs.ts';
import { fillRing, importKey, type RingKey, revokeKey, rotateKeys, tendRing } from '../../src/keys/key-ring.ts';
import { signingKeyIds } from '../../src/keys/signing-keys.ts';
import { clearAuditLog } from '../support/audit.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

const encryption = createEncryption([randomBytes(32)]);
const es256 = ['ES256'] as const;
let database: OpenTestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2027-03-01T12:00:00Z') });
  for (const table of [signingKeys, apis]) await database.db.delete(table);
  await clearAuditLog(database.db);
  await fillRing(database.db, encryption, es256);
});
afterEach(() => {
  vi.useRealTimers();
});

function pass(seconds: number): void {
  vi.setSystemTime(after(new Date(), seconds));
}

const ring = () => database.db.select().from(signingKeys).orderBy(asc(signingKeys.createdAt));

/** The one key in a state. */
async function only(state: RingKey['state']): Promise<RingKey> {
  const keys = (await ring()).filter((key) => key.state === state);
  expect(keys.map(({ kid }) => kid)).toHaveLength(1);
  return keys[0] as RingKey;
}

async function events(): Promise<string[]> {
  const rows = await database.db.select().from(auditEvents).orderBy(asc(auditEvents.id));
  return rows.map(({ event, details }) => `${event.replace('key.', '')} ${String(details.kid)}`);
}

const rotate = (options?: { force: boolean }) => rotateKeys(database.db, encryption, es256, options);
const tend = () => tendRing(database.db, encryption, es256);

async function fresh(make: () => { privateKey: ReturnType<typeof generateKeyPairSync>['privateKey'] }) {
  const pem = make().privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return (await readPem(pem)) as KeyPair;
}
const freshEs256 = () => fresh(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }));

describe('rotating (SECURITY 58)', () => {
  test('a key signs only once it has been published for longer than caches may hold an older set', async () => {
    expect(publishedBeforeUseSeconds).toBeGreaterThan(jwksMaxAgeSeconds);
    const before = await ring();
    const possibleAt = after(new Date(), publishedBeforeUseSeconds);
    pass(publishedBeforeUseSeconds - 1);
    expect(await rotate()).toEqual({ tooEarly: [{ alg: 'ES256', possibleAt }] });
    expect(await ring()).toEqual(before);
    pass(1);
    expect(await rotate()).toHaveProperty('rotated');
  });

  test('the next key signs, the one before it still verifies, and another is published to wait', async () => {
    const [current, next] = [await only('current'), await only('next')];
    pass(publishedBeforeUseSeconds);
    const now = new Date();
    const outcome = await rotate();
    const waiting = await only('next');
    expect(outcome).toEqual({
      rotated: [{ alg: 'ES256', retired: current.kid, signs: next.kid, waits: waiting.kid }],
    });
    expect(await only('current')).toMatchObject({ kid: next.kid, activatedAt: now });
    expect(await only('retired')).toMatchObject({
      kid: current.kid,
      retiredAt: now,
      publishedUntil: after(now, verifiesForSeconds),
    });
    expect(await signingKeyIds(database.db, undefined)).toEqual([next.kid, waiting.kid, current.kid]);
    expect(await events()).toEqual([
      `created ${current.kid}`,
      `created ${next.kid}`,
      `retired ${current.kid}`,
      `activated ${next.kid}`,
      `created ${waiting.kid}`,
    ]);
  });

  test('by force at once, for an operator who knows what it costs', async () => {
    const next = await only('next');
    expect(await rotate({ force: true })).toMatchObject({ rotated: [{ signs: next.kid }] });
  });

  test('of several algorithms all rotate or none', async () => {
    const both = ['ES256', 'EdDSA'] as const;
    pass(publishedBeforeUseSeconds);
    expect(await rotateKeys(database.db, encryption, both)).toMatchObject({ tooEarly: [{ alg: 'EdDSA' }] });
    expect((await ring()).map(({ alg, state }) => `${alg} ${state}`).sort()).toEqual([
      'ES256 current',
      'ES256 next',
      'EdDSA current',
      'EdDSA next',
    ]);
    pass(publishedBeforeUseSeconds);
    const outcome = await rotateKeys(database.db, encryption, both);
    expect(outcome).toMatchObject({ rotated: [{ alg: 'ES256' }, { alg: 'EdDSA' }] });
  });

  test('a retired key is published until the longest token of any API has expired, too', async () => {
    const tokenLifetimeSeconds = verifiesForSeconds + 7;
    await database.db.insert(apis).values({ identifier: 'https://slow.example', name: 'Slow', tokenLifetimeSeconds });
    pass(publishedBeforeUseSeconds);
    await rotate();
    expect((await only('retired')).publishedUntil).toEqual(after(new Date(), tokenLifetimeSeconds));
  });

  test('eight at once, over two pools: one rotates, seven hear that it is too early', async () => {
    const other = openDatabase(database.url);
    pass(publishedBeforeUseSeconds);
    const pools = [database, other, database, other, database, other, database, other];
    const outcomes = await Promise.all(pools.map(({ db }) => rotateKeys(db, encryption, es256)));
    await other.close();
    expect(outcomes.filter((outcome) => 'rotated' in outcome)).toHaveLength(1);
    expect((await ring()).map(({ state }) => state)).toEqual(['retired', 'current', 'next']);
  });

  test('broken off between its statements it has not happened, and the next try succeeds', async () => {
    const before = await ring();
    pass(publishedBeforeUseSeconds);
    for (const statement of ['insert', 'update']) {
      await database.db.execute(
        sql.raw(`create function fail() returns trigger language plpgsql as $$ begin raise 'cut'; end $$;
                 create trigger cut before ${statement} on signing_keys for each row
                 when (new.state = '${statement === 'insert' ? 'next' : 'current'}') execute function fail()`),
      );
      await expect(rotate()).rejects.toThrow();
      await database.db.execute(sql`drop function fail cascade`);
      expect(await ring()).toEqual(before);
    }
    expect(await rotate()).toHaveProperty('rotated');
  });

  test('the table itself holds no two keys that sign with one algorithm', async () => {
    const next = await only('next');
    const second = database.db.update(signingKeys).set({ state: 'current' }).where(eq(signingKeys.kid, next.kid));
    await expect(second).rejects.toThrow();
  });
});

describe('what time does', () => {
  test('nothing, before a key has signed for its time; then the next takes over', async () => {
    const [current, next] = [await only('current'), await only('next')];
    pass(signsForSeconds - 1);
    await tend();
    expect((await only('current')).kid).toBe(current.kid);
    pass(1);
    await tend();
    expect((await only('current')).kid).toBe(next.kid);
    await tend();
    expect((await ring()).map(({ state }) => state)).toEqual(['retired', 'current', 'next']);
  });

  test('a key that came to wait only now is not made to sign, even when its turn is over', async () => {
    const current = await only('current');
    pass(signsForSeconds);
    await importKey(database.db, encryption, await freshEs256());
    await tend();
    expect((await only('current')).kid).toBe(current.kid);
    pass(publishedBeforeUseSeconds);
    await tend();
    expect((await only('retired')).kid).toBe(current.kid);
  });

  test('a retired key is removed when the last token that it signed has expired, and not before', async () => {
    const current = await only('current');
    pass(publishedBeforeUseSeconds);
    await rotate();
    pass(verifiesForSeconds - 1);
    await tend();
    expect((await only('retired')).kid).toBe(current.kid);
    pass(1);
    await tend();
    expect((await ring()).map(({ state }) => state)).toEqual(['current', 'next']);
    expect(await events()).toContain(`removed ${current.kid}`);
  });

  test('what is missing is made, by one of eight that look at once', async () => {
    await database.db.delete(signingKeys).where(eq(signingKeys.state, 'next'));
    await Promise.all(Array.from({ length: 8 }, tend));
    expect((await ring()).map(({ state }) => state)).toEqual(['current', 'next']);
  });

  test('while one instance is at it the others do not wait', async () => {
    pass(signsForSeconds);
    await database.db.transaction(async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(hashtext('latchkey:signing-keys'))`);
      await tend();
      expect((await ring()).map(({ state }) => state)).toEqual(['current', 'next']);
    });
    await tend();
    expect((await ring()).map(({ state }) => state)).toEqual(['retired', 'current', 'next']);
  });
});

describe('revoking', () => {
  test('a signing key is unpublished, its private part is gone, and the next signs in the same moment', async () => {
    const [current, next] = [await only('current'), await only('next')];
    const revoked = await revokeKey(database.db, encryption, current.kid);
    expect(revoked).toEqual({ alg: 'ES256', was: 'current', signs: next.kid });
    expect(await only('revoked')).toMatchObject({
      kid: current.kid,
      privateJwkEncrypted: null,
      publishedUntil: new Date(),
    });
    expect(await signingKeyIds(database.db, undefined)).toEqual([next.kid, (await only('next')).kid]);
    expect(await events()).toContain(`revoked ${current.kid}`);
  });

  test('a waiting key is replaced, a retired one just goes, and nothing is revoked twice', async () => {
    const [current, next] = [await only('current'), await only('next')];
    expect(await revokeKey(database.db, encryption, next.kid)).toMatchObject({ was: 'next', signs: current.kid });
    expect((await only('next')).kid).not.toBe(next.kid);
    await rotate({ force: true });
    expect(await revokeKey(database.db, encryption, current.kid)).toEqual({ alg: 'ES256', was: 'retired' });
    expect(await revokeKey(database.db, encryption, current.kid)).toBeUndefined();
    expect(await revokeKey(database.db, encryption, 'nobody')).toBeUndefined();
  });

  test('with no key waiting one is made to sign', async () => {
    await database.db.delete(signingKeys).where(eq(signingKeys.state, 'next'));
    const current = await only('current');
    await revokeKey(database.db, encryption, current.kid);
    expect((await only('current')).kid).not.toBe((await only('next')).kid);
  });

  test('eight at once, of the key that signs: one revokes, and the ring is whole', async () => {
    const { kid } = await only('current');
    const revoked = await Promise.all(Array.from({ length: 8 }, () => revokeKey(database.db, encryption, kid)));
    expect(revoked.filter(Boolean)).toHaveLength(1);
    expect((await ring()).map(({ state }) => state).sort()).toEqual(['current', 'next', 'revoked']);
  });
});

describe('importing', () => {
  test('the key waits in place of the one that never signed, and signs after the same time as any', async () => {
    const [waited, key] = [await only('next'), await freshEs256()];
    pass(publishedBeforeUseSeconds);
    expect(await importKey(database.db, encryption, key)).toEqual({ replaced: waited.kid });
    expect((await only('next')).kid).toBe(key.kid);
    expect(await rotate()).toHaveProperty('tooEarly');
    pass(publishedBeforeUseSeconds);
    expect(await rotate()).toMatchObject({ rotated: [{ signs: key.kid }] });
    expect(await events()).toEqual(
      expect.arrayContaining([`removed ${waited.kid}`, `imported ${key.kid}`, `activated ${key.kid}`]),
    );
  });

  test('a key that is or was in the ring is not taken in again, least of all a revoked one', async () => {
    const key = await freshEs256();
    await importKey(database.db, encryption, key);
    expect(await importKey(database.db, encryption, key)).toEqual({ known: 'next' });
    await revokeKey(database.db, encryption, key.kid);
    expect(await importKey(database.db, encryption, key)).toEqual({ known: 'revoked' });
  });

  test.each([
    ['RSA of 2048 bits', 'RS256', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['EC P-256', 'ES256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['Ed25519', 'EdDSA', () => generateKeyPairSync('ed25519')],
  ] as const)('%s is for %s', async (_, alg, make) => {
    expect(await fresh(make)).toMatchObject({ alg });
  });

  test.each([
    ['RSA of 1024 bits', () => generateKeyPairSync('rsa', { modulusLength: 1024 })],
    ['RSA-PSS', () => generateKeyPairSync('rsa-pss', { modulusLength: 2048 })],
    ['EC P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['X25519', () => generateKeyPairSync('x25519')],
  ] as const)('%s is not usable', async (_, make) => {
    expect(await fresh(make)).toBeUndefined();
  });

  test.each(['', 'hello', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----'])(
    '%j is no key',
    async (pem) => {
      expect(await readPem(pem)).toBeUndefined();
    },
  );
});

test('no event tells a private part', async () => {
  pass(publishedBeforeUseSeconds);
  await rotate();
  const rows = JSON.stringify(await database.db.select().from(auditEvents));
  for (const { privateJwkEncrypted, kid } of await ring()) {
    const { d } = JSON.parse(encryption.decrypt(privateJwkEncrypted ?? '', `signing-key:${kid}`));
    expect(rows).not.toContain(d);
  }
});

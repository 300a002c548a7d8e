/** Keys change while two servers on one database issue ID tokens, and nobody who caches the key set notices (SECURITY 58). */
import { randomBytes } from 'node:crypto';
import { compactVerify, createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet } from 'jose';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { auditEvents } from '../../src/db/schema.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { after, publishedBeforeUseSeconds, signsForSeconds } from '../../src/keys/key-lifetimes.ts';
import { generateKey, keyAlgorithms } from '../../src/keys/key-pairs.ts';
import { importKey, revokeKey, ringKeys, rotateKeys, tendRing } from '../../src/keys/key-ring.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createPerson } from '../support/person.ts';
import { discover, registerAccount, registerClient, signInThrough } from '../support/relying-party.ts';

let database: TestDatabase;
let one: TestApp;
let two: TestApp;

beforeAll(async () => {
  database = await createTestDatabase();
  one = await startApp({ database });
  two = await startApp({ database, env: { OIDC_ISSUER: one.origin } });
});
afterAll(async () => {
  await two.close();
  await one.close();
  await database.drop();
});
afterEach(() => {
  vi.useRealTimers();
});

const encryption = () => createEncryption([Buffer.from(one.env.OIDC_ENCRYPTION_KEY ?? '', 'base64')]);
const at = ({ port }: TestApp, path: string) => `http://127.0.0.1:${port}/oidc${path}`;
const rotate = () => rotateKeys(one.database.db, encryption(), keyAlgorithms);

function pass(seconds: number): void {
  vi.setSystemTime(after(new Date(), seconds));
}

/** Takes the server at its word: keeps what it got for as long as `max-age` says, and never asks sooner. */
function cachingVerifier(server: TestApp) {
  let held: Promise<{ keys: JSONWebKeySet; until: Date }> | undefined;
  const ask = async () => {
    const response = await fetch(at(server, '/jwks'));
    const [, maxAge = '0'] = /max-age=(\d+)/.exec(response.headers.get('cache-control') ?? '') ?? [];
    return { keys: (await response.json()) as JSONWebKeySet, until: after(new Date(), Number(maxAge)) };
  };
  return async (token: string) => {
    if (!held || (await held).until <= new Date()) held = ask();
    return (await compactVerify(token, createLocalJWKSet((await held).keys))).protectedHeader;
  };
}

/** Somebody who is signed in at a client, and refreshes at the two servers in turn for another ID token each time. */
async function refresher(alg: string) {
  const registration = await registerClient(one, { id_token_signed_response_alg: alg });
  const account = await registerAccount(one);
  const parameters = { scope: 'openid offline_access', prompt: 'consent' };
  const { tokens } = await signInThrough(one, await discover(one, registration), account, { parameters });
  const { client_id, client_secret = '' } = registration;
  let refreshToken = tokens.refresh_token ?? '';
  let turns = 0;
  return {
    registration,
    firstToken: tokens.id_token ?? '',
    async next(): Promise<string> {
      turns += 1;
      const body = { grant_type: 'refresh_token', refresh_token: refreshToken };
      const response = await fetch(at(turns % 2 ? one : two, '/token'), {
        method: 'POST',
        body: new URLSearchParams(body),
        headers: { authorization: `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}` },
      });
      const answer = (await response.json()) as { refresh_token: string; id_token: string };
      expect(response.status, JSON.stringify(answer)).toBe(200);
      refreshToken = answer.refresh_token;
      return answer.id_token;
    },
  };
}

test('rotated again and again under load, not one ID token fails to verify', { timeout: 90_000 }, async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const refreshers = await Promise.all(keyAlgorithms.map(refresher));
  const verifiers = [cachingVerifier(one), cachingVerifier(two)];
  const kids = new Set<string>();
  /** An ID token of every algorithm from either server, each verified with what either cache holds just then. */
  const load = () =>
    Promise.all(
      refreshers.map(async ({ next }) => {
        for (let count = 0; count < 2; count += 1) {
          const token = await next();
          for (const verify of verifiers) kids.add((await verify(token)).kid ?? '');
        }
      }),
    );

  // The RSA key that waits is made by whoever asks for it first, and has to wait then.
  expect(await rotate()).toHaveProperty('tooEarly');
  await Promise.all([one.app.reload(), two.app.reload(), load()]);
  for (let round = 0; round < 3; round += 1) {
    pass(publishedBeforeUseSeconds);
    // Caches are filled anew just before, and are as old as they may be just after.
    await load();
    const [outcome] = await Promise.all([rotate(), load()]);
    expect(outcome).toHaveProperty('rotated');
    await load();
    await Promise.all([one.app.reload(), load()]);
    await load();
    await Promise.all([two.app.reload(), load()]);
  }
  expect(kids.size).toBe(4 * keyAlgorithms.length);
  for (const { firstToken } of refreshers) {
    for (const verify of verifiers) expect(await verify(firstToken), 'what retired keys signed').toBeDefined();
  }
});

test.each([
  ['RS256', 256],
  ['PS256', 256],
  ['ES256', 64],
  ['EdDSA', 64],
])('ID tokens are signed with %s for clients that ask for it', async (alg, length) => {
  const { firstToken } = await refresher(alg);
  expect(await cachingVerifier(one)(firstToken)).toMatchObject({ alg });
  expect(Buffer.from(firstToken.split('.')[2] ?? '', 'base64url')).toHaveLength(length);
});

test('a server follows by itself what another did, within seconds and without a restart', async () => {
  const { kid } = await generateAndImport();
  await expect.poll(() => keyIds(one), { timeout: 20_000 }).toContain(kid);
  await expect.poll(() => keyIds(two), { timeout: 20_000 }).toContain(kid);
});

async function generateAndImport() {
  const key = await generateKey('EdDSA');
  await importKey(one.database.db, encryption(), key);
  return key;
}

async function keyIds(server: TestApp): Promise<string[]> {
  const { keys } = (await (await fetch(at(server, '/jwks'))).json()) as { keys: { kid: string }[] };
  return keys.map(({ kid }) => kid);
}

test('what a revoked key signed verifies nowhere any more, and the next key signs', async () => {
  const { firstToken, next, registration } = await refresher('ES256');
  const { kid = '' } = decodeProtectedHeader(firstToken);
  const signOut = async () => {
    const query = new URLSearchParams({ id_token_hint: firstToken, client_id: registration.client_id });
    return (await createPerson(one.origin).open(`/oidc/session/end?${query}`)).status;
  };
  expect(await signOut()).toBe(200);
  const revoked = await revokeKey(one.database.db, encryption(), kid);
  await Promise.all([one.app.reload(), two.app.reload()]);
  await expect(cachingVerifier(one)(firstToken)).rejects.toThrow(/no applicable key/);
  expect(await signOut()).toBe(400);
  const after = await next();
  expect(decodeProtectedHeader(after).kid).toBe(revoked?.signs);
  await expect(cachingVerifier(two)(after)).resolves.toBeDefined();
});

test('a ring that cannot be read is no reason to stop: the keys in use stay, and one line says why', async () => {
  const broken = await startApp({ database, env: { OIDC_ISSUER: one.origin } });
  const before = await keyIds(broken);
  const stranger = await generateKey('EdDSA');
  await importKey(one.database.db, createEncryption([randomBytes(32)]), stranger);
  try {
    await expect(broken.app.reload()).rejects.toThrow(/OIDC_ENCRYPTION_KEY/);
    const told = () => broken.log.filter(({ msg }) => msg.includes('cannot be followed'));
    await expect.poll(() => told().length, { timeout: 20_000 }).toBe(1);
    expect(await keyIds(broken)).toEqual(before);
  } finally {
    await revokeKey(one.database.db, encryption(), stranger.kid);
    await broken.close();
  }
});

test('two servers that tend the ring at once make one change, and record it once', async () => {
  await Promise.all([one.app.reload(), two.app.reload()]);
  vi.useFakeTimers({ toFake: ['Date'] });
  // Twice: the clock of the rotations above was ahead of this one.
  pass(2 * signsForSeconds);
  const current = (await ringKeys(one.database.db)).filter(({ state }) => state === 'current').map(({ kid }) => kid);
  await Promise.all([one, two, one, two].map(({ database: { db } }) => tendRing(db, encryption(), keyAlgorithms)));
  const rows = await ringKeys(two.database.db);
  for (const kid of current) expect(rows.find((key) => key.kid === kid)?.state).toBe('retired');
  expect(rows.filter(({ state }) => state === 'current')).toHaveLength(keyAlgorithms.length);
  const events = await one.database.db.select().from(auditEvents);
  for (const kid of current)
    expect(events.filter(({ event, details }) => event === 'key.retired' && details.kid === kid)).toHaveLength(1);
});

import { randomBytes } from 'node:crypto';
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { oidcClients, playgroundRuns } from '../../src/db/schema.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { ensurePlaygroundClient, removePlaygroundClient } from '../../src/playground/client.ts';
import { changeRun, createRun, deleteRun, findRun, type Run } from '../../src/playground/run.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

let database: OpenTestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());
afterEach(() => {
  vi.useRealTimers();
});

const encryption = createEncryption([randomBytes(32)]);
const run: Run = {
  startedAt: 0,
  stage: 'waiting',
  endpoints: undefined,
  request: { state: 'state-1', nonce: 'nonce-1', codeVerifier: 'verifier-1' },
  tokens: { access: 'access-1', refresh: 'refresh-1', id: 'id-1' },
  logoutState: undefined,
  steps: [],
};

test('a run is found by its id alone, and the row holds neither id nor content in clear', async () => {
  const id = await createRun(database.db, encryption, run);
  expect(await findRun(database.db, encryption, id)).toEqual(run);
  expect(await findRun(database.db, encryption, `${id}x`)).toBeUndefined();
  const rows = JSON.stringify(await database.db.select().from(playgroundRuns));
  for (const secret of [id, 'state-1', 'verifier-1', 'access-1', 'refresh-1']) expect(rows).not.toContain(secret);
  await deleteRun(database.db, id);
  expect(await findRun(database.db, encryption, id)).toBeUndefined();
});

test('a row moved to another id, or sealed with a lost key, is no run', async () => {
  const [one, two] = [await createRun(database.db, encryption, run), await createRun(database.db, encryption, run)];
  const rows = await database.db.select().from(playgroundRuns);
  const [a, b] = rows;
  if (!a || !b) throw new Error('two runs were stored');
  await database.db
    .update(playgroundRuns)
    .set({ payloadEncrypted: a.payloadEncrypted })
    .where(eq(playgroundRuns.idHash, b.idHash));
  const found = [await findRun(database.db, encryption, one), await findRun(database.db, encryption, two)];
  expect(found.filter(Boolean)).toHaveLength(1);
  expect(await findRun(database.db, createEncryption([randomBytes(32)]), one)).toBeUndefined();
});

test('changes at the same moment are all kept', async () => {
  const id = await createRun(database.db, encryption, run);
  const add = () =>
    changeRun(database.db, encryption, id, (before) => ({
      ...before,
      steps: [...before.steps, { name: 'no-refresh-token' }],
    }));
  await Promise.all([add(), add(), add(), add()]);
  expect((await findRun(database.db, encryption, id))?.steps).toHaveLength(4);
  expect(await changeRun(database.db, encryption, id, () => undefined)).toBeUndefined();
  expect((await findRun(database.db, encryption, id))?.steps).toHaveLength(4);
});

test('a run lasts an hour', async () => {
  const id = await createRun(database.db, encryption, run);
  const start = Date.now();
  vi.useFakeTimers({ toFake: ['Date'], now: start + 3_590_000 });
  expect(await findRun(database.db, encryption, id)).toBeDefined();
  vi.setSystemTime(start + 3_601_000);
  expect(await findRun(database.db, encryption, id)).toBeUndefined();
  expect(await changeRun(database.db, encryption, id, (before) => before)).toBeUndefined();
});

test('the playground is a public client, brought up to date at each start', async () => {
  await ensurePlaygroundClient(database.db, 'http://localhost:3000');
  await ensurePlaygroundClient(database.db, 'https://id.example');
  const clients = await database.db.select().from(oidcClients);
  expect(clients).toHaveLength(1);
  expect(clients[0]).toMatchObject({
    clientId: 'playground',
    secretHash: null,
    registeredBy: 'operator',
    firstParty: false,
    metadata: {
      redirect_uris: ['https://id.example/playground/return'],
      post_logout_redirect_uris: ['https://id.example/playground'],
      token_endpoint_auth_method: 'none',
    },
  });
  await removePlaygroundClient(database.db);
  expect(await database.db.select().from(oidcClients)).toEqual([]);
});

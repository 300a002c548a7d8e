/** Three instances in one process on an empty database, which do everything in the same moment: migrate, rotate and sweep. */
import { randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { migrate } from '../../src/db/migrate.ts';
import { auditEvents, oidcGrants, signingKeys } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createEmptyDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let apps: TestApp[];
let migrations: number[];

beforeAll(async () => {
  database = await createEmptyDatabase();
  migrations = await Promise.all([1, 2, 3].map(() => migrate(database.url)));
  // What each does now and then, it does when the test says so.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  apps = await Promise.all([1, 2, 3].map(() => startApp({ database })));
});
afterAll(async () => {
  vi.useRealTimers();
  for (const app of apps) await app.close();
  await database.drop();
});

const db = () => (apps[0] as TestApp).database.db;

async function keysIn(state: 'current' | 'next'): Promise<string[]> {
  const rows = await db().select().from(signingKeys).where(sql`state = ${state}`);
  return rows.map(({ alg, kid }) => `${alg} ${kid}`).sort();
}

async function published({ issuer }: TestApp): Promise<string[]> {
  const { keys } = (await (await fetch(`${issuer}/jwks`)).json()) as { keys: { kid: string }[] };
  return keys.map(({ kid }) => kid).sort();
}

test('one migrates; one rotates the keys, and all follow; one sweeps, and each row goes once', async () => {
  expect(migrations.filter((applied) => applied > 0)).toHaveLength(1);
  // RSA keys are made when the ring is first tended.
  vi.advanceTimersByTime(60_000);
  await vi.waitUntil(async () => (await keysIn('next')).length === 3, { timeout: 20_000 });
  // A sweep that is done keeps the lease for a minute, one under way for half of it.
  const isDone = sql`leases where name = 'sweep' and until > now() + interval '45 s'`;
  await vi.waitUntil(async () => (await db().$count(isDone)) === 1, { timeout: 20_000 });

  await db().execute(sql`update leases set until = now()`);
  await db().execute(sql`update signing_keys set created_at = created_at - interval '1 year',
    activated_at = activated_at - interval '1 year'`);
  const [before, waiting] = [await keysIn('current'), await keysIn('next')];
  const over = new Date(Date.now() - 400 * 24 * 60 * 60 * 1000);
  const row = () => ({ model: 'AccessToken', id: randomBytes(16).toString('hex'), payload: {}, expiresAt: over });
  await db()
    .insert(oidcGrants)
    .values(Array.from({ length: 2_000 }, row));

  vi.advanceTimersByTime(60_000);
  vi.useRealTimers();
  await vi.waitUntil(async () => (await db().$count(oidcGrants)) === 0, { timeout: 20_000 });
  await vi.waitFor(async () => expect(await keysIn('current')).toEqual(waiting), { timeout: 20_000 });
  const swept = () => apps.flatMap(({ log }) => log.filter(({ msg }) => msg === 'swept'));
  await vi.waitUntil(() => swept().length > 0, { timeout: 20_000 });
  expect(swept()).toMatchObject([{ deleted: 2_000 }]);

  expect(await keysIn('next')).toHaveLength(before.length);
  const retired = await db().select().from(auditEvents).where(sql`event = 'key.retired'`);
  expect(retired).toHaveLength(before.length);
  const ring = (await db().select().from(signingKeys)).map(({ kid }) => kid).sort();
  for (const app of apps) await vi.waitFor(async () => expect(await published(app)).toEqual(ring), { timeout: 20_000 });
});

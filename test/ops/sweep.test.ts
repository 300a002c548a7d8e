import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { hotTables, levelsOff, runRounds } from '../../bench/storage.ts';
import { type OpenDatabase, openDatabase } from '../../src/db/database.ts';
import { deleteExpired, lockExpired } from '../../src/db/expired.ts';
import { keepLease, takeLease } from '../../src/db/lease.ts';
import { leases, oidcGrants, oidcSessionIds, oidcSessions, throttles } from '../../src/db/schema.ts';
import { createBackground } from '../../src/lib/background.ts';
import { expiringArtifacts } from '../../src/oidc/expired-artifacts.ts';
import { sweep, sweepLag } from '../../src/ops/sweep.ts';
import { startSweep, sweepInTurn } from '../../src/ops/sweep-job.ts';
import { startApp, type TestApp } from '../support/app.ts';

let app: TestApp;
let database: OpenDatabase;

beforeAll(async () => {
  app = await startApp({ idle: true });
  database = app.database;
});
afterAll(() => app.close());
afterEach(() => database.pool.query(`truncate ${hotTables.join(', ')}, leases cascade`));

const dayMs = 24 * 60 * 60 * 1000;
const past = new Date(Date.now() - 2 * dayMs);
const future = new Date(Date.now() + 2 * dayMs);

type Artifact = Partial<typeof oidcGrants.$inferInsert> & { id: string };
const insertArtifacts = (...artifacts: Artifact[]) =>
  database.db
    .insert(oidcGrants)
    .values(artifacts.map((one) => ({ model: 'RefreshToken', payload: {}, accountId: 'u_1', clientId: 'c', ...one })));
const artifactIds = async () => (await database.db.select().from(oidcGrants)).map(({ id }) => id).toSorted();

async function insertSession(uid: string, { expiresAt = future, persistsLogout = false, grantId = 'grant' } = {}) {
  const payload = { authorizations: { c: { sid: 'sid', grantId, ...(persistsLogout && { persistsLogout }) } } };
  await database.db.insert(oidcSessions).values({ uid, accountId: 'u_1', payload, expiresAt });
  await database.db.insert(oidcSessionIds).values({ idHash: `cookie of ${uid}`, uid });
}

const insertMany = (count: number) =>
  database.pool.query(
    `insert into oidc_grants (model, id, payload, expires_at)
     select 'AccessToken', 'over ' || i, '{}', now() - interval '1 day' - i * interval '1 second'
     from generate_series(1, $1) i`,
    [count],
  );
const deletedIn = (swept: Awaited<ReturnType<typeof sweep>>) => swept.reduce((sum, { deleted }) => sum + deleted, 0);

test('a used refresh token stays until it expires, so that its reuse is seen (SECURITY 17)', async () => {
  await insertArtifacts(
    { id: 'used', consumedAt: past, expiresAt: future },
    { id: 'over', consumedAt: past, expiresAt: past },
    { id: 'for ever', expiresAt: null },
  );
  await sweep(database.db);
  expect(await artifactIds()).toEqual(['for ever', 'used']);
});

test('an expired session takes with it what an ended one takes: grants that were for its time', async () => {
  await insertSession('over', { expiresAt: past });
  await insertSession('live', { grantId: 'grant of live' });
  await insertArtifacts(
    { model: 'Grant', id: 'grant', expiresAt: future },
    { id: 'hangs on it', grantId: 'grant', expiresAt: future },
    { model: 'Grant', id: 'grant of live', expiresAt: future },
  );
  await sweep(database.db);
  expect(await artifactIds()).toEqual(['grant of live']);
  expect(await database.db.select().from(oidcSessionIds)).toEqual([expect.objectContaining({ uid: 'live' })]);
});

test('what was allowed for longer than the session outlives it, until its last refresh token is over', async () => {
  await insertSession('over', { expiresAt: past, persistsLogout: true });
  await insertArtifacts(
    { model: 'Grant', id: 'grant', expiresAt: future },
    { id: 'refresh', grantId: 'grant', expiresAt: future },
    { id: 'the one before', grantId: 'grant', consumedAt: past, expiresAt: past },
  );
  await sweep(database.db);
  expect(await artifactIds()).toEqual(['grant', 'refresh']);
  await database.db.update(oidcGrants).set({ expiresAt: past }).where(eq(oidcGrants.id, 'refresh'));
  await sweep(database.db);
  expect(await artifactIds()).toEqual([]);
});

test('a grant whose refresh token is over stays as long as its session: the client need not ask again', async () => {
  await insertSession('live', { persistsLogout: true });
  await insertArtifacts(
    { model: 'Grant', id: 'grant', expiresAt: future },
    { id: 'refresh', grantId: 'grant', expiresAt: past },
  );
  await sweep(database.db);
  expect(await artifactIds()).toEqual(['grant']);
});

test('two sweeps at once delete each row once, and what a request has locked neither', async () => {
  await insertMany(5_000);
  const client = await database.pool.connect();
  await client.query('begin');
  await client.query(`select from oidc_grants where id = 'over 7' for update`);
  const swept = await Promise.all([sweep(database.db), sweep(database.db)]);
  expect(swept.map(deletedIn).reduce((sum, one) => sum + one)).toBe(4_999);
  expect(await artifactIds()).toEqual(['over 7']);
  await client.query('rollback');
  client.release();
  expect(deletedIn(await sweep(database.db))).toBe(1);
});

test('requests go on while a batch is under way', async () => {
  await insertMany(1_000);
  await database.db.transaction(async (tx) => {
    const batch = { before: new Date(), limit: 1_000 };
    expect(await deleteExpired(tx, expiringArtifacts, batch)).toMatchObject({ deleted: 1_000 });
    // A row that nobody may have, and one that did not exist: both answered while the batch is not committed.
    const basic = Buffer.from('nobody:nothing').toString('base64');
    const [token, page] = await Promise.all([
      fetch(`${app.issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${basic}` },
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'none' }),
      }),
      fetch(`${app.origin}/auth/login`),
    ]);
    expect([token.status, page.status]).toEqual([401, 200]);
    await insertArtifacts({ id: 'new', expiresAt: future });
  });
  expect(await artifactIds()).toEqual(['new']);
});

test('batches are whole: a sweep that is stopped has deleted as much as it says, and the next one the rest', async () => {
  await insertMany(3_500);
  const stop = new AbortController();
  const first = await sweep(database.db, { signal: stop.signal, onBatch: () => stop.abort() });
  expect(deletedIn(first)).toBe(1_000);
  expect(await sweepLag(database.db)).toBeGreaterThan(dayMs / 1000 - 15 * 60);
  // The oldest went first.
  const [newest] = await database.db.select().from(oidcGrants).where(eq(oidcGrants.id, 'over 1'));
  expect(newest).toBeDefined();
  expect(deletedIn(await sweep(database.db))).toBe(2_500);
  expect(await sweepLag(database.db)).toBe(0);
});

test('a sweep that is killed inside a batch leaves all of it, and the next one deletes it', async () => {
  await insertSession('over', { expiresAt: past });
  await insertArtifacts({ model: 'Grant', id: 'grant', expiresAt: future });
  const request = await database.pool.connect();
  await request.query('begin');
  await request.query(`select from oidc_grants for update`);
  const killed = openDatabase(app.databaseUrl, { max: 1 });
  const sweeping = expect(sweep(killed.db)).rejects.toThrow();
  // Its session is deleted, and it waits for the grant.
  await vi.waitFor(
    async () => {
      const { rows } = await database.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'`,
      );
      expect(rows).toHaveLength(1);
    },
    { timeout: 20_000, interval: 10 },
  );
  await sweeping;
  await killed.close();
  await request.query('rollback');
  request.release();
  expect(await database.db.$count(oidcSessions)).toBe(1);
  await sweep(database.db);
  expect([await artifactIds(), await database.db.$count(oidcSessions)]).toEqual([[], 0]);
});

test('where one kind of rows cannot be deleted the others still are, and the failure is told', async () => {
  await insertMany(10);
  await database.db.insert(throttles).values({ key: 'over', hits: 1, windowEndsAt: past });
  await database.pool.query(`create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$`);
  await database.pool.query(`create trigger refuse before delete on oidc_grants execute function refuse()`);
  await expect(sweep(database.db)).rejects.toMatchObject({ cause: { message: 'no' } });
  expect(await database.db.$count(throttles)).toBe(0);
  expect(await database.db.$count(oidcGrants)).toBe(10);
  await database.pool.query('drop function refuse cascade');
});

test('of all processes one sweeps, once a minute; when it dies another one does', async () => {
  await insertMany(10);
  const swept = await Promise.all(['a', 'b', 'c'].map((holder) => sweepInTurn(database.db, holder)));
  expect(swept.filter(Boolean)).toHaveLength(1);
  expect(await artifactIds()).toEqual([]);
  const [lease] = await database.db.select().from(leases);
  const [{ seconds = 0 } = {}] = (
    await database.db.execute<{ seconds: number }>(
      sql`select extract(epoch from until - now())::float8 as seconds from leases`,
    )
  ).rows;
  expect(seconds).toBeLessThanOrEqual(60);
  // Not even the same one again, until the minute is over.
  expect(await sweepInTurn(database.db, lease?.holder ?? '')).toBeUndefined();
  await database.db.update(leases).set({ until: past });
  expect(await sweepInTurn(database.db, 'd')).toBeDefined();
});

test('a machine whose clock runs ahead deletes nothing that is still good elsewhere', async () => {
  await insertArtifacts({ id: 'good', expiresAt: future }, { id: 'over', expiresAt: past });
  vi.useFakeTimers({ toFake: ['Date'], now: future.getTime() + dayMs });
  await sweep(database.db).finally(() => vi.useRealTimers());
  expect(await artifactIds()).toEqual(['good']);
});

test('a sweep whose lease somebody else took ends', async () => {
  expect(await takeLease(database.db, 'sweep', 'slow', 30)).toBe(true);
  expect(await takeLease(database.db, 'sweep', 'other', 30)).toBe(false);
  expect(await keepLease(database.db, 'sweep', 'slow', 0)).toBe(true);
  expect(await takeLease(database.db, 'sweep', 'other', 30)).toBe(true);
  expect(await keepLease(database.db, 'sweep', 'slow', 30)).toBe(false);
  await insertMany(10);
  const swept = await sweep(database.db, { mayGoOn: () => keepLease(database.db, 'sweep', 'slow', 30) });
  expect(deletedIn(swept)).toBe(0);
});

test('a server sweeps by itself, and a stopping one does not finish a long sweep first', async () => {
  await insertMany(3_000);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const background = createBackground((_name, error) => {
    throw error;
  });
  startSweep({ db: database.db, background, log: { debug() {} } });
  vi.advanceTimersByTime(20_000);
  vi.useRealTimers();
  await background.close();
  expect(await database.db.$count(oidcGrants)).toBeGreaterThan(0);
  // The next process need not wait.
  expect(deletedIn((await sweepInTurn(database.db, 'next')) ?? [])).toBeGreaterThan(0);
  expect(await database.db.$count(oidcGrants)).toBe(0);
});

test('sign-ins that come and go leave tables of a size that does not grow', { timeout: 60_000 }, async () => {
  const results = await runRounds(database.db, {
    rounds: 12,
    signIns: 400,
    // As autovacuum does in its time.
    afterRound: () => database.pool.query(`vacuum ${hotTables.join(', ')}`),
  });
  expect(levelsOff(results, 'rows')).toBe(true);
  expect(levelsOff(results, 'bytes')).toBe(true);
  expect(results.at(-1)?.rows).toBe(results.at(-2)?.rows);
});

test('the statement of a batch does not read again what the one before it deleted', async () => {
  await insertMany(20);
  const batch = { before: new Date(), limit: 10 };
  const { upTo } = await deleteExpired(database.db, expiringArtifacts, batch);
  const next = lockExpired(expiringArtifacts, { ...batch, from: upTo }, sql`id`);
  const { rows } = await database.db.transaction((tx) => tx.execute<{ id: string }>(next));
  expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: 10 }, (_, index) => `over ${10 - index}`));
});

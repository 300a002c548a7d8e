/** What the pool does when the database is slower than those who ask. */
import { connect, createServer, type Socket } from 'node:net';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { isUnavailable, openDatabase } from '../../src/db/database.ts';
import { startAppForTest } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { listen } from '../support/listen.ts';

let testDatabase: TestDatabase;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
});
afterAll(() => testDatabase.drop());

function open(url: string) {
  const database = openDatabase(url, { max: 2 });
  onTestFinished(() => database.close());
  return database;
}

test('a flood beyond the queue is answered 503 with Retry-After at once; what waits is served, and all is as before', async () => {
  const { origin, database } = await startAppForTest({
    env: { DATABASE_POOL_SIZE: '2' },
    idle: true,
    expectErrors: true,
  });
  const ask = async (number: number) => {
    const response = await fetch(`${origin}/clients/nobody${number}`);
    const { error } = (await response.json()) as { error: string };
    return { status: response.status, retryAfter: response.headers.get('retry-after'), error };
  };
  const held = [await database.pool.connect(), await database.pool.connect()];
  const answers = Array.from({ length: 130 }, (_, number) => ask(number));
  const early: unknown[] = [];
  await new Promise<void>((resolve) => {
    for (const answer of answers) answer.then((said) => early.push(said) === 30 && resolve());
  });
  const busy = { status: 503, retryAfter: '5', error: 'temporarily_unavailable' };
  expect(early, 'while the others wait').toEqual(Array.from({ length: 30 }, () => busy));
  for (const client of held) client.release();
  const statuses = (await Promise.all(answers)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 404)).toHaveLength(100);
  expect(statuses.filter((status) => status === 503)).toHaveLength(30);
  expect((await ask(0)).status).toBe(404);
});

test('PostgreSQL itself ends what takes too long, and that is "not now"', async () => {
  const { db } = open(testDatabase.url);
  const { rows } = await db.execute(sql`
    select name, setting from pg_settings order by name, setting`);
  const settings = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
  expect(settings).toMatchObject({
    statement_timeout: '9000',
    lock_timeout: '5000',
    idle_in_transaction_session_timeout: '30000',
  });

  const hasty = open(`${testDatabase.url}?statement_timeout=100&lock_timeout=50`);
  const slow = await hasty.db.execute(sql`select pg_sleep(60)`).catch((error: unknown) => error);
  expect([isUnavailable(slow), String((slow as Error).cause)]).toEqual([true, expect.stringContaining('statement')]);
  await db.transaction(async (tx) => {
    await tx.execute(sql`lock table users`);
    const locked = await hasty.db
      .transaction((other) => other.execute(sql`lock table users`))
      .catch((error: unknown) => error);
    expect([isUnavailable(locked), String((locked as Error).cause)]).toEqual([true, expect.stringContaining('lock')]);
  });
});

test('PgBouncer takes no such time-outs from a client: the pool goes on without', async () => {
  const { url, refused } = await startStrictPooler(testDatabase.url);
  const { db } = open(url);
  const answers = await Promise.all([1, 2].map(() => db.execute(sql`show statement_timeout`)));
  expect(answers.map(({ rows }) => rows)).toEqual([[{ statement_timeout: '0' }], [{ statement_timeout: '0' }]]);
  const before = refused();
  await Promise.all([1, 2, 3, 4].map(() => db.transaction((tx) => tx.execute(sql`select 1`))));
  expect(refused(), 'learnt once').toBe(before);
});

/** Refuses, as PgBouncer does, parameters that it does not know; hands everything else on. */
async function startStrictPooler(databaseUrl: string): Promise<{ url: string; refused: () => number }> {
  const { hostname, port = '5432' } = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let refused = 0;
  const server = createServer((near) => {
    sockets.add(near);
    near.on('error', () => {});
    near.once('data', (start) => {
      if (start.includes('_timeout')) {
        refused += 1;
        near.end(errorResponse('unsupported startup parameter: statement_timeout'));
        return;
      }
      const far = connect(Number(port), hostname);
      sockets.add(far);
      far.on('error', () => {});
      far.write(start);
      near.pipe(far).pipe(near);
    });
  });
  const ownPort = await listen(server);
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${ownPort}`;
  return { url: url.href, refused: () => refused };
}

function errorResponse(message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0C08P01\0M${message}\0\0`);
  const head = Buffer.alloc(5, 'E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

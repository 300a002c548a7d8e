/** The pool when the way to the database breaks under a transaction. */
import { once } from 'node:events';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isUnavailable, type OpenDatabase, openDatabase } from '../../src/db/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createDatabaseProxy, type DatabaseProxy } from '../support/database-proxy.ts';

let testDatabase: TestDatabase;
let proxy: DatabaseProxy;
let database: OpenDatabase;

const answerMs = 500;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  proxy = await createDatabaseProxy(testDatabase.url);
  await proxy.open();
  database = openDatabase(`${proxy.url}?query_timeout=${answerMs}`, { max: 1 });
});
afterAll(async () => {
  await database.close();
  await proxy.close();
  await testDatabase.drop();
});

const one = sql`select 1 as one`;

async function fails(work: Promise<unknown>): Promise<void> {
  const error = await work.catch((error: unknown) => error);
  expect(isUnavailable(error), String(error)).toBe(true);
}

async function expectWorking(): Promise<void> {
  const { rows } = await database.db.transaction((tx) => tx.execute(one));
  expect(rows).toEqual([{ one: 1 }]);
}

test('cut between two statements: the transaction fails, the process does not', async () => {
  const acquired = once(database.pool, 'acquire');
  await fails(
    database.db.transaction(async (tx) => {
      await tx.execute(one);
      const [connection] = await acquired;
      // Not `once` of node:events, which would hear the error too.
      const ended = new Promise((resolve) => connection.once('end', resolve));
      proxy.cut();
      await ended;
      await tx.execute(one);
    }),
  );
  await expectWorking();
});

test('silent at BEGIN: no connection is kept for ever', async () => {
  await expectWorking();
  proxy.hang();
  await fails(database.db.transaction((tx) => tx.execute(one)));
  await proxy.open();
  await expectWorking();
});

test('silent in the middle: waited for once, and not used again', async () => {
  const startedAt = performance.now();
  await fails(
    database.db.transaction(async (tx) => {
      await tx.execute(one);
      proxy.hang();
      await tx.execute(one);
    }),
  );
  expect(performance.now() - startedAt).toBeLessThan(2 * answerMs);
  await proxy.open();
  await expectWorking();
});

test('a transaction that fails for another reason is rolled back, and its connection is used again', async () => {
  await expectWorking();
  const open = database.pool.totalCount;
  const work = database.db.transaction(async (tx) => {
    await tx.execute(sql`create table half_done (number int)`);
    await tx.execute(sql`select 1 / 0`);
  });
  await expect(work).rejects.toThrow();
  const { rows } = await database.db.execute(sql`select to_regclass('half_done') as found`);
  expect(rows).toEqual([{ found: null }]);
  expect(database.pool.totalCount).toBe(open);
});

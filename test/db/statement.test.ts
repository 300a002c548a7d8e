/** Statements that PostgreSQL keeps by name, and what happens where it does not. */
import { sql } from 'drizzle-orm';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type OpenDatabase, openDatabase } from '../../src/db/database.ts';
import { run, statement } from '../../src/db/statement.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const double = statement<{ number: number; list: readonly string[] }, { twice: number; list: string[] }>(
  ({ number, list }) => sql`select ${number}::int * 2 as twice, ${list}::text[] as list`,
);
const values = { number: 21, list: ['a'] };
const row = { twice: 42, list: ['a'] };

let created: TestDatabase;
let database: OpenDatabase;

beforeEach(async () => {
  created = await createTestDatabase();
  // One connection, so that it is known who keeps what.
  database = openDatabase(created.url, { max: 1 });
});
afterEach(async () => {
  await database.close();
  await created.drop();
});

const rows = async () => (await run(database.db, double, values)).rows;
const kept = async () =>
  (await database.pool.query<{ name: string }>('select name from pg_prepared_statements')).rows.map(({ name }) => name);

test('a statement is kept by a name that belongs to its text', async () => {
  expect([await rows(), await rows()]).toEqual([[row], [row]]);
  expect(await kept()).toEqual([double.name]);
  const other = statement<{ number: number }>(({ number }) => sql`select ${number}::int * 3`);
  expect(other.name).not.toBe(double.name);
});

test('in a transaction it is part of that', async () => {
  await database.db.transaction(async (tx) => expect((await run(tx, double, values)).rows).toEqual([row]));
  expect(await kept()).toEqual([]);
});

test.each([
  ['unknown on the connection that a pooler gives', 'deallocate all'],
  ['taken there by somebody else', `deallocate all; prepare ${double.name} as select 1`],
])('where a name is %s, statements go without from then on', async (_what, meanwhile) => {
  if (!meanwhile.includes('prepare')) await rows();
  await database.pool.query(meanwhile);
  expect(await rows()).toEqual([row]);
  await database.pool.query('deallocate all');
  expect(await rows()).toEqual([row]);
  expect(await kept()).toEqual([]);
});

test('a plan that a migration made stale costs nobody an answer, and names stay', async () => {
  const table = statement<Record<string, never>, object>(() => sql`select * from leases`);
  expect((await run(database.db, table, {})).rows).toEqual([]);
  await database.pool.query('alter table leases add column more text');
  expect((await run(database.db, table, {})).rows).toEqual([]);
  await rows();
  expect(await kept()).toContain(double.name);
});

test('what is wrong with a statement is told as ever, and it is not sent twice', async () => {
  const wrong = statement<{ number: number }>(({ number }) => sql`select 1 / ${number}::int`);
  await expect(run(database.db, wrong, { number: 0 })).rejects.toMatchObject({ code: '22012' });
});

/** What `migrate plan` says of locks is what PostgreSQL does, and `migrate` gives way to those who use the tables. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sql } from 'drizzle-orm';
import { expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/db/database.ts';
import { migrate } from '../../src/db/migrate.ts';
import { type Lock, locksOf } from '../../src/db/migration-locks.ts';
import { planMigrations } from '../../src/db/migration-plan.ts';
import { allMigrations, migrationState } from '../../src/db/migrations.ts';
import { singleConnection } from '../../src/db/single-connection.ts';
import { createTestDatabase } from '../support/database.ts';

async function emptyDatabase() {
  const { url, database } = await migratedDatabase();
  await database.db.execute(sql`drop schema public cascade`);
  await database.db.execute(sql`drop schema drizzle cascade`);
  await database.db.execute(sql`create schema public`);
  return { url, database };
}

async function migratedDatabase() {
  const testDatabase = await createTestDatabase();
  const database = openDatabase(testDatabase.url);
  onTestFinished(async () => {
    await database.close();
    await testDatabase.drop();
  });
  return { url: testDatabase.url, database };
}

/** What statements take on tables that stood before them, as PostgreSQL's own list has it; all of it is undone. */
async function locksTaken(url: string, before: readonly string[], statement: string): Promise<Record<string, Lock>> {
  const client = singleConnection(url, 'latchkey-test', 30_000);
  await client.connect();
  try {
    await client.query('begin');
    await client.query(statement);
    const { rows } = await client.query<{ name: string; mode: string }>(
      `select c.relname as name, l.mode from pg_locks l join pg_class c on c.oid = l.relation
       where l.pid = pg_backend_pid() and c.relkind = 'r' and c.relnamespace = 'public'::regnamespace`,
    );
    await client.query('rollback');
    const taken = rows.filter(({ name, mode }) => before.includes(name) && strength.includes(wordsOf(mode)));
    const strongest = (name: string) =>
      taken
        .filter((each) => each.name === name)
        .map(({ mode }) => wordsOf(mode))
        .sort((a, b) => strength.indexOf(b) - strength.indexOf(a))[0] ?? 'none';
    return Object.fromEntries([...new Set(taken.map(({ name }) => name))].map((name) => [name, strongest(name)]));
  } finally {
    await client.end();
  }
}

const strength: Lock[] = [
  'ROW EXCLUSIVE',
  'SHARE UPDATE EXCLUSIVE',
  'SHARE',
  'SHARE ROW EXCLUSIVE',
  'ACCESS EXCLUSIVE',
];

/** `AccessExclusiveLock` is ACCESS EXCLUSIVE. */
function wordsOf(mode: string): Lock {
  return mode
    .replace(/Lock$/, '')
    .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .toUpperCase() as Lock;
}

test('the locks of every statement of every migration are those that PostgreSQL takes', {
  timeout: 60_000,
}, async () => {
  const { url, database } = await emptyDatabase();
  for (const { statements } of allMigrations()) {
    for (const statement of statements) {
      const { rows } = await database.db.execute<{ name: string }>(
        sql`select tablename as name from pg_tables where schemaname = 'public'`,
      );
      const taken = await locksTaken(
        url,
        rows.map(({ name }) => name),
        statement,
      );
      const { locks } = locksOf(statement);
      expect({ statement, locks: Object.fromEntries((locks ?? []).map(({ table, lock }) => [table, lock])) }).toEqual({
        statement,
        locks: taken,
      });
      await database.db.execute(sql.raw(statement));
    }
  }
});

test.each<[statement: string, Lock, work: string]>([
  ['CREATE INDEX CONCURRENTLY a ON users (name)', 'SHARE UPDATE EXCLUSIVE', 'scan'],
  ['alter table users alter column name set not null', 'ACCESS EXCLUSIVE', 'scan'],
  ['alter table users alter column name set data type varchar', 'ACCESS EXCLUSIVE', 'rewrite'],
  ['alter table users add column x uuid default gen_random_uuid()', 'ACCESS EXCLUSIVE', 'rewrite'],
  ['alter table users add constraint x check (true) not valid', 'ACCESS EXCLUSIVE', 'none'],
  ['alter table users validate constraint x', 'SHARE UPDATE EXCLUSIVE', 'scan'],
  ['-- why\nupdate users set name = email', 'ROW EXCLUSIVE', 'scan'],
])('%s takes %s', (statement, lock, work) => {
  expect(locksOf(statement)).toEqual({ locks: [{ table: 'users', lock }], work });
});

test('a statement of an unknown kind is said to be unknown', () => {
  expect(locksOf('vacuum full users').locks).toBeUndefined();
});

test('the plan tells what is pending, on which tables, and how large they are; applying does it', async () => {
  const { url, database } = await emptyDatabase();
  const all = allMigrations();
  const plan = await planMigrations(database.db);
  expect(plan.pending.map(({ name }) => name)).toEqual(all.map(({ name }) => name));
  // All tables are made by the plan itself.
  expect(plan.pending.flatMap(({ statements }) => statements.flatMap(({ tables }) => tables))).toEqual([]);

  const steps: string[] = [];
  const total = all.flatMap(({ statements }) => statements).length;
  const applied = await Promise.all([
    migrate(url, { onProgress: (done, of) => steps.push(`${done}/${of}`) }),
    migrate(url, { onProgress: (done, of) => steps.push(`${done}/${of}`) }),
  ]);
  expect(applied.sort()).toEqual([0, all.length]);
  expect(steps).toEqual(Array.from({ length: total }, (_, done) => `${done}/${total}`));
  expect(await migrationState(database.db)).toEqual({ pending: 0, unknown: 0 });

  const users = { sql: 'alter table users add column x text', name: 'users' };
  await database.db.execute(sql`insert into users (id, email, email_normalized, name) values ('u_1', 'a', 'a', 'a')`);
  await database.db.execute(sql`analyze users`);
  await database.db.execute(sql`delete from drizzle.__drizzle_migrations where created_at = ${all.at(-1)?.when}`);
  const [last] = (await planMigrations(database.db)).pending;
  const step = last?.statements.find(({ tables }) => tables?.some(({ table }) => table === users.name));
  expect(step?.tables).toContainEqual({
    table: 'users',
    lock: 'ACCESS EXCLUSIVE',
    blocks: 'reads and writes',
    rows: 1,
    bytes: expect.any(Number),
  });
});

test('a table that is in use is left alone after the lock time-out, with nothing applied', async () => {
  const { url, database } = await emptyDatabase();
  await database.db.execute(sql`create schema drizzle`);
  await database.db.execute(sql`create table drizzle.__drizzle_migrations (id serial, hash text, created_at bigint)`);
  await database.db.transaction(async (tx) => {
    await tx.execute(sql`lock table drizzle.__drizzle_migrations in share mode`);
    await expect(migrate(url, { lockTimeoutMs: 50, tries: 1 })).rejects.toThrow(
      /^Nothing was migrated: .*--lock-timeout\.$/,
    );
  });
  expect(await migrationState(database.db)).toEqual({ pending: allMigrations().length, unknown: 0 });
});

test('the migrations make what schema.ts describes: db:generate has nothing to add', async () => {
  const root = join(import.meta.dirname, '../..');
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-migrations-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  // Were there something, it would be written here.
  for (const name of ['migrations', 'drizzle.config.ts']) {
    await cp(join(root, name), join(folder, name), { recursive: true });
  }
  for (const name of ['src', 'node_modules']) await symlink(join(root, name), join(folder, name));
  const program = join(root, 'node_modules/drizzle-kit/bin.cjs');
  const { stdout } = await promisify(execFile)(process.execPath, [program, 'generate'], { cwd: folder });
  expect(stdout).toContain('No schema changes');
});

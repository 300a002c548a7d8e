/** The migrations that this version carries, and which of them a database has. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import type { Database } from './database.ts';

/** Of PostgreSQL: what the migrations are written for. */
export const oldestVersion = 15;

const folder = join(import.meta.dirname, '../../migrations');

/** `when`, in milliseconds, orders them, and names them in the database. */
export type Migration = { name: string; when: number; hash: string; statements: string[] };

type Journal = { entries: { tag: string; when: number }[] };
const journal = JSON.parse(readFileSync(join(folder, 'meta/_journal.json'), 'utf8')) as Journal;

export type MigrationState = {
  /** How many the database lacks. */
  pending: number;
  /** How many it has that this version does not know: a newer one has been here. */
  unknown: number;
};

/** What of ours the database has, in one or two small queries. */
export async function migrationState(db: Pick<Database, 'execute'>): Promise<MigrationState> {
  const applied = await appliedMigrations(db);
  const known = journal.entries.map(({ when }) => when);
  return {
    pending: known.filter((when) => !applied.includes(when)).length,
    unknown: applied.filter((when) => !known.includes(when)).length,
  };
}

/** How many migrations the code carries and the database lacks; 0 is ready. */
export async function pendingMigrations(db: Pick<Database, 'execute'>): Promise<number> {
  return (await migrationState(db)).pending;
}

/** Those that the database lacks, in order. */
export async function listPending(db: Pick<Database, 'execute'>): Promise<Migration[]> {
  const applied = await appliedMigrations(db);
  return journal.entries.filter(({ when }) => !applied.includes(when)).map(readMigration);
}

/** All of them, in order. */
export function allMigrations(): Migration[] {
  return journal.entries.map(readMigration);
}

function readMigration({ tag: name, when }: Journal['entries'][number]): Migration {
  const text = readFileSync(join(folder, `${name}.sql`), 'utf8');
  const statements = text.split('--> statement-breakpoint').map((statement) => statement.trim());
  const hash = createHash('sha256').update(text).digest('hex');
  return { name, when, hash, statements: statements.filter((statement) => statement !== '') };
}

/** Applies these, in the transaction `tx`; told before each statement how many are done, of how many. */
export async function applyMigrations(
  tx: Pick<Database, 'execute'>,
  migrations: readonly Migration[],
  onProgress?: (done: number, total: number) => void,
): Promise<void> {
  // The names and columns are drizzle-kit's.
  await tx.execute(sql`create schema if not exists drizzle`);
  await tx.execute(
    sql`create table if not exists drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint)`,
  );
  const total = migrations.reduce((sum, { statements }) => sum + statements.length, 0);
  let done = 0;
  for (const { statements, hash, when } of migrations) {
    for (const statement of statements) {
      onProgress?.(done, total);
      await tx.execute(sql.raw(statement));
      done += 1;
    }
    await tx.execute(sql`insert into drizzle.__drizzle_migrations (hash, created_at) values (${hash}, ${when})`);
  }
}

/** What the database has, by `when`. */
export async function appliedMigrations(db: Pick<Database, 'execute'>): Promise<number[]> {
  const exists = await db.execute(sql`select to_regclass('drizzle.__drizzle_migrations') is not null as found`);
  if (!exists.rows[0]?.found) return [];
  const { rows } = await db.execute<{ when: string }>(
    sql`select created_at as "when" from drizzle.__drizzle_migrations`,
  );
  return rows.map(({ when }) => Number(when));
}

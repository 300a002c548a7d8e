/** A database that is to receive a whole installation: what is in it already, and emptied. */
import { sql } from 'drizzle-orm';
import { tableNames } from './copy-tables.ts';
import type { Database } from './database.ts';
import { migrationLock } from './migrate.ts';
import { oldestVersion } from './migrations.ts';

/** The database cannot take an installation; the message is for the operator. Nothing in it was changed. */
export class TargetError extends Error {
  override name = 'TargetError';
}

/**
 * Makes the database empty for an installation, in the transaction `tx`: tables of Latchkey's that hold nothing are
 * dropped, with `replace` those that hold something too.
 * @throws {TargetError}
 */
export async function clearDatabase(tx: Database, { replace = false } = {}): Promise<void> {
  await requireVersion(tx);
  // Whoever migrates waits until this is over.
  await tx.execute(sql`select pg_advisory_xact_lock(${migrationLock})`);
  const tables = await ownTables(tx);
  if (!replace && (await holdsRows(tx, tables))) {
    throw new TargetError('The database is not empty: it holds an installation of Latchkey already.');
  }
  if (replace) await requireNoServer(tx);
  for (const table of tables) await tx.execute(sql`drop table ${sql.identifier(table)} cascade`);
  await tx.execute(sql`drop table if exists drizzle.__drizzle_migrations`);
  for (const name of await ownFunctions(tx)) await tx.execute(sql`drop function ${sql.raw(name)} cascade`);
}

/** Whether any table of Latchkey's has a row. */
export async function holdsInstallation(db: Database): Promise<boolean> {
  return holdsRows(db, await ownTables(db));
}

async function requireVersion(db: Database): Promise<void> {
  const { rows } = await db.execute<{ version: number; encoding: string }>(
    sql`select current_setting('server_version_num')::int / 10000 as version, current_setting('server_encoding') as encoding`,
  );
  const { version = 0, encoding } = rows[0] ?? {};
  if (version < oldestVersion)
    throw new TargetError(`The database is PostgreSQL ${version}; Latchkey needs ${oldestVersion} or later.`);
  if (encoding !== 'UTF8')
    throw new TargetError(`The database is encoded in ${encoding}; make one with encoding UTF8.`);
}

/** @throws {TargetError} when there are tables that are none of ours: nothing is put among them, nor dropped */
async function ownTables(db: Database): Promise<string[]> {
  const { rows } = await db.execute<{ name: string }>(
    sql`select tablename::text as name from pg_tables where schemaname = current_schema() order by 1`,
  );
  const strange = rows.map(({ name }) => name).filter((name) => !tableNames.includes(name));
  if (rows.length === 0 && (await isThere(db, 'drizzle.__drizzle_migrations')))
    strange.push('drizzle.__drizzle_migrations');
  if (strange.length > 0) {
    throw new TargetError(
      `The database has tables that are not Latchkey's (${strange.slice(0, 5).join(', ')}): make one of its own for Latchkey.`,
    );
  }
  return rows.map(({ name }) => name);
}

async function isThere(db: Database, table: string): Promise<boolean> {
  const { rows } = await db.execute<{ there: boolean }>(sql`select to_regclass(${table}) is not null as there`);
  return rows[0]?.there === true;
}

async function holdsRows(db: Database, tables: readonly string[]): Promise<boolean> {
  for (const table of tables) {
    const { rows } = await db.execute<{ any: boolean }>(
      sql`select exists (select 1 from ${sql.identifier(table)}) as any`,
    );
    if (rows[0]?.any) return true;
  }
  return false;
}

/** Servers call their connections so (database.ts). */
async function requireNoServer(db: Database): Promise<void> {
  const { rows } = await db.execute(sql`
    select 1 from pg_stat_activity
    where datname = current_database() and application_name = 'latchkey' and pid <> pg_backend_pid()`);
  if (rows.length > 0) throw new TargetError('A Latchkey server runs on the database: stop it first.');
}

/** The functions of triggers, which the migrations make; no extension's. */
async function ownFunctions(db: Database): Promise<string[]> {
  const { rows } = await db.execute<{ name: string }>(sql`
    select oid::regprocedure::text as name from pg_proc p
    where pronamespace = current_schema()::regnamespace and prorettype = 'trigger'::regtype
      and not exists (select 1 from pg_depend where objid = p.oid and deptype = 'e')`);
  return rows.map(({ name }) => name);
}

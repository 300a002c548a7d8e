/**
 * Whole tables, read and written with COPY in its text format, which every PostgreSQL understands alike. Which tables
 * there are is known from schema.ts, and what they look like from PostgreSQL itself. Nothing is kept in memory but the rows
 * on their way.
 */
import type { Readable, Writable } from 'node:stream';
import { getTableName, is, sql } from 'drizzle-orm';
import { PgTable } from 'drizzle-orm/pg-core';
import { escapeIdentifier } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { type Database, databaseOn } from './database.ts';
import { type RowCount, RowDigest } from './row-digest.ts';
import * as schema from './schema.ts';
import { singleConnection } from './single-connection.ts';

/** A table as the database has it; `estimatedRows` is what PostgreSQL guesses. */
export type TableShape = { name: string; columns: string[]; parents: string[]; estimatedRows: number };

/** The next number of an identity column. */
export type SequenceState = { table: string; column: string; lastValue: string; isCalled: boolean };

/** A transaction on a connection of its own in which tables can be copied. */
export type CopyTransaction = {
  db: Database;
  read(table: TableShape): Readable;
  write(table: TableShape): Writable;
};

/** The names of all tables of this version. */
export const tableNames: readonly string[] = Object.values(schema)
  .filter((value) => is(value, PgTable))
  .map((table) => getTableName(table))
  .sort();

/** What the same row looks like everywhere, and no time-out of the server's in the midst of a long copy. */
const settings = {
  datestyle: 'ISO, YMD',
  timezone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: '1',
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  lock_timeout: '10s',
};

/**
 * Runs `work` in one transaction at `url`: `snapshot` reads all as it is at one moment and changes nothing; `change` is all
 * or nothing.
 */
export async function inCopyTransaction<T>(
  url: string,
  kind: 'snapshot' | 'change',
  work: (tx: CopyTransaction) => Promise<T>,
): Promise<T> {
  const client = singleConnection(url, 'latchkey-copy', 0);
  let failure: unknown;
  try {
    await client.connect();
    return await databaseOn(client).transaction(
      async (db) => {
        try {
          for (const [name, value] of Object.entries(settings)) {
            await db.execute(sql`select set_config(${name}, ${value}, true)`);
          }
          return await work({
            db,
            read: (table) => client.query(copyTo(`copy ${target(table)} to stdout`)),
            write: (table) => client.query(copyFrom(`copy ${target(table)} from stdin`)),
          });
        } catch (error) {
          failure = error;
          throw error;
        }
      },
      kind === 'snapshot'
        ? { isolationLevel: 'repeatable read', accessMode: 'read only' }
        : { isolationLevel: 'read committed' },
    );
  } catch (error) {
    // A connection that broke fails again at ROLLBACK, and that says less.
    throw failure ?? error;
  } finally {
    await client.end().catch(() => {});
  }
}

function target({ name, columns }: TableShape): string {
  return `${escapeIdentifier(name)} (${columns.map(escapeIdentifier).join(', ')})`;
}

/**
 * The tables of these names, those that others refer to first: the order in which they can be filled.
 * @throws when one is not there
 */
export async function describeTables(db: Database, names: readonly string[] = tableNames): Promise<TableShape[]> {
  const { rows } = await db.execute<TableShape>(sql`
    select c.relname::text as name,
      greatest(c.reltuples, 0)::float8 as "estimatedRows",
      array(select attname::text from pg_attribute
        where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '' order by attnum) as columns,
      array(select distinct p.relname::text from pg_constraint f join pg_class p on p.oid = f.confrelid
        where f.conrelid = c.oid and f.contype = 'f' and p.oid <> c.oid) as parents
    from jsonb_array_elements_text(${JSON.stringify(names)}::jsonb) as wanted
      join pg_class c on c.oid = to_regclass(quote_ident(wanted)) and c.relkind = 'r'
    order by c.relname`);
  const lacking = names.filter((name) => !rows.some((table) => table.name === name));
  if (lacking.length > 0) throw new Error(`The database lacks tables: ${lacking.join(', ')}.`);
  return inLoadOrder(rows);
}

function inLoadOrder(tables: readonly TableShape[]): TableShape[] {
  const ordered: TableShape[] = [];
  const isThere = (name: string) => ordered.some((table) => table.name === name);
  for (let left = [...tables]; left.length > 0; left = left.filter(({ name }) => !isThere(name))) {
    const ready = left.filter(({ parents }) => parents.every(isThere));
    if (ready.length === 0) throw new Error('Tables refer to each other in a circle.');
    ordered.push(...ready);
  }
  return ordered;
}

/** Reads a table to its end, only to count. */
export async function countRows(tx: CopyTransaction, table: TableShape): Promise<RowCount> {
  const digest = new RowDigest();
  for await (const chunk of tx.read(table)) digest.update(chunk);
  return digest.result();
}

export async function readSequences(db: Database, tables: readonly TableShape[]): Promise<SequenceState[]> {
  const states: SequenceState[] = [];
  for (const { table, column, sequence } of await findSequences(db, tables)) {
    const { rows } = await db.execute<{ lastValue: string; isCalled: boolean }>(
      sql`select last_value::text as "lastValue", is_called as "isCalled" from ${sql.raw(sequence)}`,
    );
    if (rows[0]) states.push({ table, column, ...rows[0] });
  }
  return states;
}

export async function writeSequences(db: Database, states: readonly SequenceState[]): Promise<void> {
  for (const { table, column, lastValue, isCalled } of states) {
    await db.execute(
      sql`select setval(pg_get_serial_sequence(quote_ident(${table}), ${column}), ${lastValue}::bigint, ${isCalled})`,
    );
  }
}

async function findSequences(db: Database, tables: readonly TableShape[]) {
  const columns = tables.flatMap(({ name, columns }) => columns.map((column) => ({ table: name, column })));
  const { rows } = await db.execute<{ table: string; column: string; sequence: string }>(sql`
    select "table", "column", pg_get_serial_sequence(quote_ident("table"), "column") as sequence
    from jsonb_to_recordset(${JSON.stringify(columns)}::jsonb) as one("table" text, "column" text)
    where pg_get_serial_sequence(quote_ident("table"), "column") is not null
    order by 1, 2`);
  return rows;
}

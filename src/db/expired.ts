/**
 * Rows whose time is over, deleted a batch at a time. A batch is one short statement that takes the oldest rows by an
 * index and leaves out what somebody else has locked, so it waits for nobody and nobody waits for it but milliseconds.
 */
import { type SQL, sql } from 'drizzle-orm';
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';
import type { Database } from './database.ts';

/** Rows of which `at` has come, and for which `where` holds then. `at` needs an index with `where` left to the rows. */
export type Expiring = { table: PgTable; at: PgColumn; where?: (before: SQL) => SQL | undefined };

/** Up to `limit` rows that were over `before`. `from`: where the batch before this one ended, to begin there. */
export type Batch = { before: Date; limit: number; from?: string | undefined };

/** How many rows there were, and the time of the last of them, as PostgreSQL writes it. Fewer than `limit`: no more left. */
export type Deleted = { deleted: number; upTo?: string | undefined };

export async function deleteExpired(db: Database, expiring: Expiring, batch: Batch): Promise<Deleted> {
  const { rows } = await db.execute<{ deleted: number; upTo: string | null }>(sql`
    with over as (${lockExpired(expiring, batch, sql`ctid`)}),
    gone as (delete from ${expiring.table} where ctid = any (array(select ctid from over)))
    select count(*)::int as deleted, max(over.at)::text as "upTo" from over`);
  return { deleted: rows[0]?.deleted ?? 0, upTo: rows[0]?.upTo ?? undefined };
}

/** The statement that takes a batch, for who has more to do than to delete it: locked rows, `at` and what `columns` says. */
export function lockExpired(expiring: Expiring, { before, limit, from }: Batch, columns: SQL): SQL {
  const notAgain = from === undefined ? sql`true` : sql`${expiring.at} >= ${from}::timestamptz`;
  return sql`select ${columns}, ${expiring.at} as at from ${expiring.table}
    where ${isOver(expiring, before)} and ${notAgain}
    order by ${expiring.at} limit ${limit} for update skip locked`;
}

export async function countExpired(db: Database, expiring: Expiring, before: Date): Promise<number> {
  const { rows } = await db.execute<{ count: number }>(
    sql`select count(*)::int as count from ${expiring.table} where ${isOver(expiring, before)}`,
  );
  return rows[0]?.count ?? 0;
}

/** The time of the oldest row of each, in one statement of as many looks into an index; undefined where none is over. */
export async function oldestExpired(
  db: Database,
  wanted: readonly { expiring: Expiring; before: Date }[],
): Promise<(Date | undefined)[]> {
  const oldest = wanted.map(
    ({ expiring, before }) =>
      sql`(select extract(epoch from min(${expiring.at}))::float8 from ${expiring.table} where ${isOver(expiring, before)})`,
  );
  const { rows } = await db.execute<{ oldest: (number | null)[] }>(
    sql`select array[${sql.join(oldest, sql`, `)}]::float8[] as oldest`,
  );
  const times = rows[0]?.oldest ?? [];
  return wanted.map((_, index) => (times[index] == null ? undefined : new Date(times[index] * 1000)));
}

function isOver({ at, where }: Expiring, before: Date): SQL {
  const then = sql`${before.toISOString()}::timestamptz`;
  return sql`${at} <= ${then} and ${where?.(then) ?? sql`true`}`;
}

import { inArray, sql } from 'drizzle-orm';
import type { Database } from './database.ts';
import { type Blocks, blocks, type Lock, locksOf, type Work } from './migration-locks.ts';
import { listPending, migrationState } from './migrations.ts';

export type TouchedTable = {
  table: string;
  lock: Lock;
  blocks: Blocks;
  /** As PostgreSQL estimates; absent for a table that it has never counted. */
  rows?: number;
  /** With indexes. */
  bytes?: number;
};

export type PlannedStatement = {
  sql: string;
  /** Undefined where the statement is of a kind that nothing is known about. */
  tables: TouchedTable[] | undefined;
  work: Work;
};

export type MigrationPlan = {
  pending: { name: string; statements: PlannedStatement[] }[];
  /** Migrations in the database that this version does not know. */
  unknown: number;
};

/** What applying would do, without doing any of it. Tables that the plan itself makes are none that anybody waits for. */
export async function planMigrations(db: Database): Promise<MigrationPlan> {
  const { unknown } = await migrationState(db);
  const created = new Set<string>();
  const pending = (await listPending(db)).map(({ name, statements }) => ({
    name,
    statements: statements.map((statement) => {
      const { locks, work, creates } = locksOf(statement);
      if (creates) created.add(creates);
      const onOthers = locks?.filter(({ table }) => !created.has(table));
      return { sql: statement, locks: onOthers, work: locks && onOthers?.length === 0 ? 'none' : work } as const;
    }),
  }));
  const touched = pending.flatMap((each) => each.statements.flatMap(({ locks }) => locks ?? []));
  const sizes = await sizesOf(db, [...new Set(touched.map(({ table }) => table))]);
  return {
    unknown,
    pending: pending.map(({ name, statements }) => ({
      name,
      statements: statements.map(({ sql, locks, work }) => ({
        sql,
        work,
        tables: locks?.map((each) => ({ ...each, blocks: blocks(each.lock), ...sizes.get(each.table) })),
      })),
    })),
  };
}

type Size = { rows?: number; bytes?: number };

async function sizesOf(db: Database, tables: string[]): Promise<Map<string, Size>> {
  if (tables.length === 0) return new Map();
  const { rows } = await db.execute<{ name: string; rows: number; bytes: string }>(sql`
    select c.relname as name, c.reltuples::float8 as rows, pg_total_relation_size(c.oid) as bytes
    from pg_class c where c.relnamespace = 'public'::regnamespace and ${inArray(sql`c.relname`, tables)}`);
  return new Map(
    rows.map(({ name, rows, bytes }) => [name, { ...(rows >= 0 && { rows }), bytes: Number(bytes) }] as const),
  );
}

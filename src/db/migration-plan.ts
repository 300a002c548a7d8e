import type { Database } from './database.ts';
import { type Blocks, blocks, type Lock, locksOf, type Work } from './migration-locks.ts';
import { listPending, migrationState } from './migrations.ts';
import { tableSizes } from './table-sizes.ts';

export type TouchedTable = {
  table: string;
  lock: Lock;
  blocks: Blocks;
  /** As PostgreSQL estimates; absent, with `bytes`, for a table that is not there. */
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
  const sizes = new Map((await tableSizes(db)).map(({ name, rows, bytes }) => [name, { rows, bytes }]));
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

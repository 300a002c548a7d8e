import { sql } from 'drizzle-orm';
import type { Database } from './database.ts';

export type TableSize = {
  name: string;
  /** As of the last ANALYZE; of a table that never had one, what the statistics of its changes say. */
  rows: number;
  /** Deleted and not yet vacuumed, estimated. */
  dead: number;
  /** With indexes. */
  bytes: number;
};

/** Every table, the largest first. Nothing is counted for it. */
export async function tableSizes(db: Pick<Database, 'execute'>): Promise<TableSize[]> {
  const { rows } = await db.execute<TableSize>(sql`
    select c.relname as name, pg_total_relation_size(c.oid)::float8 as bytes, coalesce(s.n_dead_tup, 0)::float8 as dead,
      (case when c.reltuples < 0 then coalesce(s.n_live_tup, 0) else c.reltuples end)::float8 as rows
    from pg_class c left join pg_stat_user_tables s on s.relid = c.oid
    where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace order by bytes desc`);
  return rows;
}

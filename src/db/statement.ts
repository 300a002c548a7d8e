/**
 * Statements of the paths that every token takes. Their text is put together once and not per request, and PostgreSQL
 * plans them once per connection: they are named ("prepared"). Other statements are Drizzle's to build and run.
 */
import { createHash } from 'node:crypto';
import { Placeholder, type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import type { Pool, QueryResult } from 'pg';
import { type Database, sqlState } from './database.ts';

/** As it goes over the wire: an instant is its ISO text, and JSON is text. */
export type Value = string | number | boolean | null | readonly string[];

export type Statement<Values extends Record<string, Value>, Row> = {
  readonly name: string;
  readonly text: string;
  readonly parameters: readonly unknown[];
  readonly write: (values: Places<Values>) => SQL;
  /** Nothing at run time: the type of its rows. */
  readonly row?: Row;
};

/** In each place a value, or what stands for it. */
export type Places<Values> = { [name in keyof Values]: SQLWrapper | Values[name] };

type Answer<Row> = { rows: Row[]; rowCount: number };

/**
 * @param write the statement over its values; it is asked once with places for them, so it must not look at any
 */
export function statement<Values extends Record<string, Value>, Row = never>(
  write: (values: Places<Values>) => SQL,
): Statement<Values, Row> {
  const places = new Proxy({} as Places<Values>, { get: (_, name) => sql.placeholder(String(name)) });
  const { sql: text, params: parameters } = new PgDialect({ casing: 'snake_case' }).sqlToQuery(write(places));
  // Whoever prepared a name, this process or one of another version: it means this text.
  const name = `latchkey_${createHash('sha256').update(text).digest('hex').slice(0, 24)}`;
  return { name, text, parameters, write };
}

/** Runs a statement on the pool, named where that works, or in the transaction that `db` is. */
export async function run<Values extends Record<string, Value>, Row>(
  db: Database,
  { name, text, parameters, write }: Statement<Values, Row>,
  values: Values,
): Promise<Answer<Row>> {
  if (!isPooled(db)) {
    const places = Object.fromEntries(Object.entries(values).map(([one, value]) => [one, sql.param(value)])) as unknown;
    return answer<Row>(await db.execute(write(places as Places<Values>)));
  }
  const query = {
    text,
    values: parameters.map((one) => (one instanceof Placeholder ? values[one.name as keyof Values] : one)),
  };
  if (!db.naming.works) return answer<Row>(await db.$client.query(query));
  try {
    return answer<Row>(await db.$client.query({ ...query, name }));
  } catch (error) {
    const state = sqlState(error) ?? '';
    if (!notRun.has(state)) throw error;
    if (state !== stalePlan) db.naming.works = false;
    return answer<Row>(await db.$client.query(query));
  }
}

const stalePlan = '0A000';

/**
 * How PostgreSQL refuses a named statement before it runs it. Behind a pooler that hands connections on after each
 * transaction (PgBouncer before 1.21, or without `max_prepared_statements`) the name is unknown there (26000) or taken
 * already (42P05); from then on statements go without. After a migration a plan may be stale (0A000).
 */
const notRun = new Set(['26000', '42P05', stalePlan]);

/** What `openDatabase` makes, as opposed to a transaction. */
export type PooledDatabase = Database & { $client: Pool; naming: { works: boolean } };

function isPooled(db: Database): db is PooledDatabase {
  return 'naming' in db;
}

function answer<Row>({ rows, rowCount }: Pick<QueryResult, 'rows' | 'rowCount'>): Answer<Row> {
  return { rows: rows as Row[], rowCount: rowCount ?? 0 };
}

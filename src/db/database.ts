/**
 * The one door to PostgreSQL: the pool, its time-outs, and the sentence that says whether a failure means "not now".
 * Functions elsewhere take a `Database` first, which is the pool or an open transaction alike.
 */
import { drizzle, type NodePgQueryResultHKT } from 'drizzle-orm/node-postgres';
import type { PgDatabase } from 'drizzle-orm/pg-core';
import { Pool } from 'pg';
import * as schema from './schema.ts';

export type Database = PgDatabase<NodePgQueryResultHKT, typeof schema>;

export type OpenDatabase = { db: Database; pool: Pool; close: () => Promise<void> };

const connectTimeoutMs = 5_000;
const queryTimeoutMs = 10_000;

/**
 * Opens a pool on `url`. Connections are made when first needed, so this succeeds while the database is down.
 * Time-outs are kept on this side of the wire: a transaction pooler between us and PostgreSQL keeps no session settings.
 */
export function openDatabase(
  url: string,
  options: { max?: number; onError?: (error: Error) => void } = {},
): OpenDatabase {
  const pool = new Pool({
    connectionString: url,
    max: options.max ?? 10,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: queryTimeoutMs,
    keepAlive: true,
    application_name: 'latchkey',
  });
  // An idle connection that breaks must not end the process; the next request opens another.
  pool.on('error', (error) => options.onError?.(error));
  const db = drizzle(pool, { schema, casing: 'snake_case' });
  return { db, pool, close: () => pool.end() };
}

/** PostgreSQL's code for a duplicate key. */
const uniqueViolation = '23505';

/** The SQLSTATE of an error, which Drizzle wraps in a `cause`. */
function sqlState(error: unknown): string | undefined {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ('code' in e && typeof e.code === 'string') return e.code;
  }
  return undefined;
}

export function isUniqueViolation(error: unknown): boolean {
  return sqlState(error) === uniqueViolation;
}

/** Connection exceptions, resource limits, operator intervention (shutdown, fail-over), read-only standby, and Node's own. */
const unavailableState = /^(08...|53...|57P0.|57014|25006|ECONN\w+|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH)$/;
const unavailableText =
  /connection terminated|timeout exceeded when trying to connect|query read timeout|cannot use a pool after/i;

/** True when the database cannot answer now, though nothing is wrong with the request: the answer is 503, try again. */
export function isUnavailable(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined && unavailableState.test(state)) return true;
  for (let e = error; e instanceof Error; e = e.cause) {
    if (unavailableText.test(e.message)) return true;
    if (e instanceof AggregateError && e.errors.some(isUnavailable)) return true;
  }
  return false;
}

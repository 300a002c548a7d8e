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
  // Nor one that breaks between two statements of a transaction; the next statement fails.
  pool.on('connect', (client) => client.on('error', () => {}));
  const db = drizzle(pool, ours);
  db.transaction = (work, settings) => inTransaction(pool, work, settings);
  return { db, pool, close: () => pool.end() };
}

const ours = { schema, casing: 'snake_case' } as const;

type Transaction = Database['transaction'];

/**
 * Drizzle's own keeps a connection for ever when BEGIN fails on it, and gives one that hangs back to the pool, after a
 * second wait for the answer to ROLLBACK.
 */
async function inTransaction<T>(
  pool: Pool,
  work: (tx: Parameters<Parameters<Transaction>[0]>[0]) => Promise<T>,
  settings: Parameters<Transaction>[1],
): Promise<T> {
  const client = await pool.connect();
  let broken = false;
  try {
    return await drizzle(client, ours).transaction(async (tx) => {
      try {
        return await work(tx);
      } catch (error) {
        if (isUnavailable(error)) void client.end();
        throw error;
      }
    }, settings);
  } catch (error) {
    broken = isUnavailable(error);
    throw error;
  } finally {
    client.release(broken);
  }
}

/** The SQLSTATE of an error, which Drizzle wraps in a `cause`. */
function sqlState(error: unknown): string | undefined {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ('code' in e && typeof e.code === 'string') return e.code;
  }
  return undefined;
}

/** Connection exceptions, resource limits, operator intervention (shutdown, fail-over), read-only standby, and Node's own. */
const unavailableState = /^(08...|53...|57P0.|57014|25006|ECONN\w+|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH)$/;
const unavailableText =
  /connection terminated|timeout expired|timeout exceeded when trying to connect|query read timeout|is not queryable|cannot use a pool after/i;

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

/** What went wrong underneath, in one line: of Drizzle's errors and Node's the message at the bottom says it. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (error instanceof Error && error.cause instanceof Error) return reasonOf(error.cause);
  return (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ');
}

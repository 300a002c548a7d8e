/**
 * The one door to PostgreSQL: the pool, its time-outs, and the sentence that says whether a failure means "not now".
 * Functions elsewhere take a `Database` first, which is the pool or an open transaction alike.
 */
import { drizzle, type NodePgQueryResultHKT } from 'drizzle-orm/node-postgres';
import type { PgDatabase } from 'drizzle-orm/pg-core';
import type { Client, Pool } from 'pg';
import { BoundedPool, BusyPoolError } from './bounded-pool.ts';
import { type OwnWrites, watchOwnWrites } from './own-writes.ts';
import * as schema from './schema.ts';

export type Database = PgDatabase<NodePgQueryResultHKT, typeof schema>;

export type OpenDatabase = { db: Database; pool: Pool; ownWrites: OwnWrites; close: () => Promise<void> };

const connectTimeoutMs = 5_000;
const queryTimeoutMs = 10_000;
/** Kept by PostgreSQL, so that it does not work on for nobody: what we gave up, or what a dead process left behind. */
const serverTimeouts = {
  statement_timeout: 9_000,
  lock_timeout: 5_000,
  idle_in_transaction_session_timeout: 30_000,
};

/**
 * Opens a pool on `url`. Connections are made when first needed, so this succeeds while the database is down.
 * Time-outs that count are kept on this side of the wire: a transaction pooler in between keeps no session settings.
 */
export function openDatabase(
  url: string,
  options: { max?: number; onError?: (error: Error) => void } = {},
): OpenDatabase {
  const pool = new BoundedPool({
    connectionString: url,
    max: options.max ?? 10,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: queryTimeoutMs,
    ...serverTimeouts,
    keepAlive: true,
    application_name: 'latchkey',
  });
  // An idle connection that breaks must not end the process; the next request opens another.
  pool.on('error', (error) => options.onError?.(error));
  // Nor one that breaks between two statements of a transaction; the next statement fails.
  pool.on('connect', (client) => client.on('error', () => {}));
  const db = Object.assign(drizzle(pool, ours), { naming: { works: true } });
  const ownWrites = watchOwnWrites(pool);
  db.transaction = (work, settings) => inTransaction(pool, ownWrites, work, settings);
  return { db, pool, ownWrites, close: () => pool.end() };
}

const ours = { schema, casing: 'snake_case' } as const;

/** On a connection of one's own, for work that the pool's time-outs would cut off. */
export function databaseOn(client: Client): Database {
  return drizzle(client, ours);
}

type Transaction = Database['transaction'];

/**
 * Drizzle's own keeps a connection for ever when BEGIN fails on it, and gives one that hangs back to the pool, after a
 * second wait for the answer to ROLLBACK.
 */
async function inTransaction<T>(
  pool: Pool,
  ownWrites: OwnWrites,
  work: (tx: Parameters<Parameters<Transaction>[0]>[0]) => Promise<T>,
  settings: Parameters<Transaction>[1],
): Promise<T> {
  const client = await pool.connect();
  const written = ownWrites.transaction();
  let broken = false;
  let cause: unknown;
  try {
    return await drizzle(client, { ...ours, logger: written }).transaction(async (tx) => {
      try {
        return await work(tx);
      } catch (error) {
        cause = error;
        if (isBroken(error)) void client.end();
        throw error;
      }
    }, settings);
  } catch (error) {
    broken = isBroken(error);
    // Not that ROLLBACK failed on a connection that is gone.
    throw cause ?? error;
  } finally {
    client.release(broken);
    written.over();
  }
}

/** The SQLSTATE of an error, which Drizzle wraps in a `cause`. */
export function sqlState(error: unknown): string | undefined {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ('code' in e && typeof e.code === 'string') return e.code;
  }
  return undefined;
}

/** Connection exceptions, resource limits, locks held too long, operator intervention, read-only standby, and Node's own. */
const unavailableState =
  /^(08...|53...|55P03|57P0.|57014|25006|ECONN\w+|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH)$/;
const unavailableText =
  /connection terminated|timeout expired|timeout exceeded when trying to connect|query read timeout|is not queryable|cannot use a pool after/i;

/** True when the database cannot answer now, though nothing is wrong with the request: the answer is 503, try again. */
export function isUnavailable(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined && unavailableState.test(state)) return true;
  for (let e = error; e instanceof Error; e = e.cause) {
    if (e instanceof BusyPoolError || unavailableText.test(e.message)) return true;
    if (e instanceof AggregateError && e.errors.some(isUnavailable)) return true;
  }
  return false;
}

/** Whether a connection is not to be used again. One whose statement PostgreSQL has given up is as good as before. */
function isBroken(error: unknown): boolean {
  return isUnavailable(error) && !/^(53[12]00|55P03|57014)$/.test(sqlState(error) ?? '');
}

/** What went wrong underneath, in one line: of Drizzle's errors and Node's the message at the bottom says it. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (error instanceof Error && error.cause instanceof Error) return reasonOf(error.cause);
  return (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ');
}

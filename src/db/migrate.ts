import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { Client } from 'pg';
import { type Database, isUnavailable, reasonOf, sqlState } from './database.ts';
import { applyMigrations, listPending } from './migrations.ts';
import { findMove, sentenceOf } from './move.ts';

export { pendingMigrations } from './migrations.ts';

/** One number for all instances: whoever holds it migrates, the others wait and then find nothing to do. */
export const migrationLock = 7_241_936_501;

/** The database cannot be used; the message is one sentence for the operator, without a secret in it. */
export class DatabaseError extends Error {
  override name = 'DatabaseError';
}

const patienceMs = 30_000;
const retryMs = 1_000;

/**
 * The same as `migrate` for a database that may be starting just now: waits for it half a minute, telling `onWait` why
 * at each try. What waiting does not mend (a wrong password, a missing database) is said at once.
 * @throws {DatabaseError}
 */
export async function migrateWhenReady(
  url: string,
  options: { onWait: (reason: string) => void; patienceMs?: number },
): Promise<number> {
  for (const end = Date.now() + (options.patienceMs ?? patienceMs); ; await delay(retryMs)) {
    try {
      return await migrate(url);
    } catch (error) {
      if (error instanceof DatabaseError) throw error;
      const reason = reasonOf(error);
      if (!isUnavailable(error) || Date.now() > end) {
        throw new DatabaseError(`The database cannot be used (${reason}): check DATABASE_URL.`, { cause: error });
      }
      options.onWait(reason);
    }
  }
}

export type MigrateOptions = {
  /** How long a statement may wait for a lock, and with it every request that comes after it, in milliseconds. */
  lockTimeoutMs?: number;
  /** How often all is tried again when a lock could not be had. */
  tries?: number;
  /** Told before each statement how many are done, of how many. */
  onProgress?: (done: number, total: number) => void;
};

/**
 * Applies pending migrations to the database at `url`, all of them or none, and answers how many there were. Safe when
 * several instances start together, and through a transaction pooler: they take turns under a lock of the transaction.
 * A statement that has to wait for a busy table gives way, since requests queue up behind it, and is tried again.
 * @throws {DatabaseError} when a lock could not be had
 */
export async function migrate(
  url: string,
  { lockTimeoutMs = 5_000, tries = 10, onProgress }: MigrateOptions = {},
): Promise<number> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    application_name: 'latchkey-migrate',
  });
  client.on('error', () => {});
  await client.connect();
  try {
    for (let left = tries - 1; ; left -= 1) {
      try {
        return await applyAll(client, lockTimeoutMs, onProgress);
      } catch (error) {
        if (sqlState(error) !== lockNotAvailable) throw error;
        if (left <= 0) throw new DatabaseError(busy(lockTimeoutMs, tries), { cause: error });
        await delay(retryMs);
      }
    }
  } finally {
    await client.end();
  }
}

/** PostgreSQL's `lock_not_available`. */
const lockNotAvailable = '55P03';

const busy = (lockTimeoutMs: number, tries: number) =>
  `Nothing was migrated: a table was in use for ${lockTimeoutMs} ms at each of ${tries} tries. Look for long transactions in pg_stat_activity, or give a longer --lock-timeout.`;

async function applyAll(
  client: Client,
  lockTimeoutMs: number,
  onProgress: MigrateOptions['onProgress'],
): Promise<number> {
  return drizzle(client).transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(${migrationLock})`);
    await refuseMoved(tx);
    const pending = await listPending(tx);
    if (pending.length === 0) return 0;
    // After the turn was taken: another instance's migration may take as long as it takes.
    await tx.execute(sql`select set_config('lock_timeout', ${`${lockTimeoutMs}ms`}, true)`);
    await applyMigrations(tx, pending, onProgress);
    return pending.length;
  });
}

/** Nothing can be written any more where `promote` has been (move.ts). @throws {DatabaseError} */
async function refuseMoved(db: Pick<Database, 'execute'>): Promise<void> {
  const move = await findMove(db);
  if (move) throw new DatabaseError(sentenceOf(move));
}

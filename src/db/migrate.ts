import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate as applyMigrations } from 'drizzle-orm/node-postgres/migrator';
import { Client } from 'pg';
import { type Database, isUnavailable, reasonOf } from './database.ts';

const folder = join(import.meta.dirname, '../../migrations');

/** One number for all instances: whoever holds it migrates, the others wait and then find nothing to do. */
const migrationLock = 7_241_936_501;

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
      const reason = reasonOf(error);
      if (!isUnavailable(error) || Date.now() > end) {
        throw new DatabaseError(`The database cannot be used (${reason}): check DATABASE_URL.`, { cause: error });
      }
      options.onWait(reason);
    }
  }
}

/**
 * Applies pending migrations to the database at `url` and answers how many there were. Safe when several instances
 * start together: they take turns under an advisory lock, on a connection of its own.
 */
export async function migrate(url: string): Promise<number> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    application_name: 'latchkey-migrate',
  });
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [migrationLock]);
    const db = drizzle(client);
    const before = await appliedMigrations(db);
    await applyMigrations(db, { migrationsFolder: folder });
    return (await appliedMigrations(db)) - before;
  } finally {
    await client.end();
  }
}

/** How many migrations the code carries and the database lacks; 0 is ready. */
export async function pendingMigrations(db: Database): Promise<number> {
  return knownMigrations - (await appliedMigrations(db));
}

const journal = JSON.parse(readFileSync(join(folder, 'meta/_journal.json'), 'utf8')) as { entries: unknown[] };
const knownMigrations = journal.entries.length;

async function appliedMigrations(db: Pick<Database, 'execute'>): Promise<number> {
  const exists = await db.execute(sql`select to_regclass('drizzle.__drizzle_migrations') is not null as found`);
  if (!exists.rows[0]?.found) return 0;
  const count = await db.execute(sql`select count(*)::int as applied from drizzle.__drizzle_migrations`);
  return Number(count.rows[0]?.applied);
}

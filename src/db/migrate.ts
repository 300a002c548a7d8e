import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate as applyMigrations } from 'drizzle-orm/node-postgres/migrator';
import { Client } from 'pg';
import type { Database } from './database.ts';

const folder = join(import.meta.dirname, '../../migrations');

/** One number for all instances: whoever holds it migrates, the others wait and then find nothing to do. */
const migrationLock = 7_241_936_501;

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

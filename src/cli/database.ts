import { type Config, loadEnvironment, readConfig } from '../config.ts';
import { type Database, openDatabase } from '../db/database.ts';
import { startEmbedded } from '../db/embedded.ts';
import { pendingMigrations } from '../db/migrate.ts';

const silent = { info: () => {}, warn: () => {} };

/**
 * Runs `work` with the address of the database that the configuration names. The embedded one is joined while a server
 * runs on it, else started and stopped again afterwards, also when the command is interrupted.
 */
export async function withDatabaseUrl<T>(work: (url: string, config: Config) => Promise<T>): Promise<T> {
  loadEnvironment();
  const config = readConfig();
  if (config.databaseUrl) return work(config.databaseUrl, config);

  const embedded = await startEmbedded({ dataDir: config.dataDir, log: silent });
  const interrupt = (_: NodeJS.Signals, number: number) => embedded.stop().finally(() => process.exit(128 + number));
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    return await work(embedded.url, config);
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    await embedded.stop();
  }
}

/** Runs `work` on the database, which must be migrated: a command line never changes tables without being told to. */
export function withDatabase<T>(work: (db: Database, config: Config) => Promise<T>): Promise<T> {
  return withDatabaseUrl(async (url, config) => {
    const database = openDatabase(url, { max: 2 });
    try {
      if ((await pendingMigrations(database.db)) > 0) {
        throw new Error('The database is not up to date: run `npm run latchkey -- migrate`.');
      }
      return await work(database.db, config);
    } finally {
      await database.close();
    }
  });
}

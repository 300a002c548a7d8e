import { type Config, loadEnvironment, readConfig } from '../config.ts';
import { type Database, openDatabase } from '../db/database.ts';
import { startEmbedded } from '../db/embedded.ts';
import { pendingMigrations } from '../db/migrate.ts';
import { findMove, sentenceOf } from '../db/move.ts';

const silent = { info: () => {}, warn: () => {} };

/**
 * Runs `work` with the address of the database that the configuration names. The embedded one is joined while a server
 * runs on it, else started and stopped again afterwards, also when the command is interrupted.
 */
export async function withDatabaseUrl<T>(work: (url: string, config: Config) => Promise<T>): Promise<T> {
  loadEnvironment();
  const config = readConfig();
  return withDatabaseAt(config, (url) => work(url, config));
}

/** The same without a whole configuration: for commands that must not make secrets. */
export async function withDatabaseAt<T>(
  { databaseUrl, dataDir }: Pick<Config, 'databaseUrl' | 'dataDir'>,
  work: (url: string) => Promise<T>,
): Promise<T> {
  if (databaseUrl) return work(databaseUrl);

  const embedded = await startEmbedded({ dataDir, log: silent });
  const interrupt = (_: NodeJS.Signals, number: number) => embedded.stop().finally(() => process.exit(128 + number));
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    return await work(embedded.url);
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    await embedded.stop();
  }
}

/** Runs `work` on the database, which must be migrated: a command line never changes tables without being told to. */
export function withDatabase<T>(work: (db: Database, config: Config) => Promise<T>): Promise<T> {
  return withMigratedDatabase(({ db, config }) => work(db, config));
}

/** The same for work that also needs connections of its own. */
export function withMigratedDatabase<T>(
  work: (at: { db: Database; url: string; config: Config }) => Promise<T>,
): Promise<T> {
  return withDatabaseUrl(async (url, config) => {
    const database = openDatabase(url, { max: 2 });
    try {
      if ((await pendingMigrations(database.db)) > 0) {
        throw new Error('The database is not up to date: run `npm run latchkey -- migrate`.');
      }
      const move = await findMove(database.db);
      if (move) throw new Error(sentenceOf(move));
      return await work({ db: database.db, url, config });
    } finally {
      await database.close();
    }
  });
}

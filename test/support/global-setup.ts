/**
 * Before all tests: one throw-away PostgreSQL (or the one at TEST_DATABASE_URL) with migrated template databases for
 * `createTestDatabase` to clone. After them nothing of it is left; what a killed run leaves, the next one removes.
 */
import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import type { TestProject } from 'vitest/node';
import { openDatabase } from '../../src/db/database.ts';
import { startEmbedded } from '../../src/db/embedded.ts';
import { migrate } from '../../src/db/migrate.ts';
import { singleConnection } from '../../src/db/single-connection.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { loadSigningKeys } from '../../src/keys/signing-keys.ts';
import { newDataFolder, removeAbandonedDataFolders, removeDataFolder } from './data-folder.ts';
import { withDatabase } from './database.ts';

const secrets = {
  OIDC_COOKIE_SECRET: randomBytes(32).toString('base64url'),
  OIDC_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
};

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeAbandonedDataFolders();
  const server = await startServer();
  const run = randomBytes(4).toString('hex');
  const client = singleConnection(server.url, `latchkey-test-${run}`, 30_000);
  const teardown = async (): Promise<void> => {
    await dropDatabases(client, run).finally(() => client.end());
    await server.stop();
  };
  try {
    await client.connect();
    await client.query('select pg_advisory_lock(hashtext($1))', [run]);
    await dropAbandonedDatabases(client);
    await createTemplates(client, server.url, `latchkey_test_${run}`);
  } catch (error) {
    await teardown();
    throw error;
  }
  project.provide('testServer', { url: server.url, run, secrets });
  return teardown;
}

/** One with tables only, and one as a first start under `secrets` leaves it: to make keys takes a while each time. */
async function createTemplates(client: Client, url: string, prefix: string): Promise<void> {
  const [template, started] = [`${prefix}_template`, `${prefix}_started`];
  await client.query(`create database ${template}`);
  await migrate(withDatabase(url, template));
  await client.query(`create database ${started} template ${template}`);
  const { db, close } = openDatabase(withDatabase(url, started));
  await loadSigningKeys(db, createEncryption([Buffer.from(secrets.OIDC_ENCRYPTION_KEY, 'base64')]), undefined);
  await close();
  for (const name of [template, started]) await client.query(`alter database ${name} allow_connections false`);
}

async function startServer(): Promise<{ url: string; stop: () => Promise<void> }> {
  const given = process.env.TEST_DATABASE_URL;
  if (given) return { url: given, stop: async () => {} };
  const dataDir = await newDataFolder();
  const embedded = await startEmbedded({
    dataDir,
    log: { info: () => {}, warn: (message) => process.stderr.write(`${message}\n`) },
    settings: {
      fsync: 'off',
      synchronous_commit: 'off',
      full_page_writes: 'off',
      max_connections: '200',
      // The folder may be in memory.
      max_wal_size: '128MB',
    },
  });
  return {
    url: embedded.url,
    stop: async () => {
      await embedded.stop();
      await removeDataFolder(dataDir);
    },
  };
}

/** Every run holds a lock named after it as long as it lives; whose lock is free is dead. */
async function dropAbandonedDatabases(client: Client): Promise<void> {
  const { rows } = await client.query<{ run: string }>(
    "select distinct substring(datname from '^latchkey_test_([0-9a-f]{8})_') as run from pg_database",
  );
  for (const { run } of rows) {
    if (!run) continue;
    const lock = await client.query('select pg_try_advisory_lock(hashtext($1)) as free', [run]);
    if (lock.rows[0]?.free !== true) continue;
    await dropDatabases(client, run);
    await client.query('select pg_advisory_unlock(hashtext($1))', [run]);
  }
}

async function dropDatabases(client: Client, run: string): Promise<void> {
  const { rows } = await client.query<{ datname: string }>('select datname from pg_database where datname like $1', [
    `latchkey\\_test\\_${run}\\_%`,
  ]);
  for (const { datname } of rows) await client.query(`drop database if exists ${datname} with (force)`);
}

/** A server with the database that it brings, under load on a small disk: the database is killed, and the disk fills up. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findPostmaster, stopPostmaster } from '../../src/db/embedded-postmaster.ts';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { queryDatabase } from '../support/database.ts';
import { type ServerProcess, startServer, untilReady } from '../support/server.ts';
import { fillDisk, type SmallDisk, smallDisk } from '../support/small-disk.ts';
import { type Load, startLoad } from './load.ts';

const dataDir = await newDataFolder();
/** Where nobody may mount one, the data is on an ordinary disk, and the test of a full one fails. */
const disk: SmallDisk | undefined = await smallDisk(dataDir, '128m');
let server: ServerProcess;
/** The data folder as this process reaches it. */
let folder: string;

beforeAll(async () => {
  const env = { DATA_DIR: dataDir, TRUST_PROXY: 'loopback' };
  server = await startServer({ env, wrapper: disk?.wrapper ?? [] });
  folder = disk?.seenThrough(server.pid, dataDir) ?? dataDir;
});
afterAll(async () => {
  await stopPostmaster({ folder: join(folder, 'postgres') });
  await server.kill9();
  await removeDataFolder(dataDir);
});

const postmaster = () => findPostmaster({ folder: join(folder, 'postgres') });

/** As the operator's own tool does. */
async function query(statement: string): Promise<void> {
  const password = await readFile(join(folder, 'postgres', 'latchkey-password'), 'utf8');
  const { port } = (await postmaster()) ?? {};
  await queryDatabase(`postgres://latchkey:${password}@127.0.0.1:${port}/latchkey`, statement);
}

/** Has PostgreSQL begin one log file after the other. Without room for the next it ends itself; old ones it uses again. */
async function useSpace(): Promise<void> {
  for (let files = 0; files < 50; files += 1) {
    await query(`select pg_logical_emit_message(false, 'latchkey-test', ''), pg_switch_wal()`);
  }
}

test('kill -9 of PostgreSQL: it is started again by itself, and nothing acknowledged is lost', {
  timeout: 120_000,
}, async () => {
  const load = await startLoad(server);
  await load.served(12);
  const killed = (await postmaster())?.pid ?? 0;
  process.kill(killed, 'SIGKILL');
  await server.printed('The embedded PostgreSQL is back.');
  await load.served(12);
  await load.stopAndCheck();
  await untilReady(server);
  expect((await postmaster())?.pid).not.toBe(killed);
});

test('a full disk: "not now", even when PostgreSQL gives up; with space again, all goes on', {
  timeout: 120_000,
}, async () => {
  if (!disk)
    throw new Error('A full disk cannot be tried: neither root nor a user namespace may mount a file system here.');
  const load: Load = await startLoad(server);
  await load.served(12);
  const giveBack = await fillDisk(join(folder, 'everything'));
  // A table or an index cannot grow: that statement fails, others go on.
  await load.refused(4);
  // What it must write down before all else may have no room either.
  await useSpace().catch(() => {});
  await giveBack();
  await load.served(12);
  await load.stopAndCheck();
  await untilReady(server);
  expect(server.stdout()).toContain('could not extend file');
});

test('the server has lived through all of this without a word on stderr', () => {
  expect(server.isAlive()).toBe(true);
  expect(server.stderr()).toBe('');
});

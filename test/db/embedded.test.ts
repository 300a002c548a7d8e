import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, cp, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Embedded, EmbeddedError, lockServer, startEmbedded } from '../../src/db/embedded.ts';
import { findPostmaster } from '../../src/db/embedded-postmaster.ts';
import { singleConnection } from '../../src/db/single-connection.ts';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { queryDatabase } from '../support/database.ts';

const isRoot = process.getuid?.() === 0;
const folders: string[] = [];
/** The tests take turns on one folder, and leave it stopped: a first start takes a second, a later one a tenth of it. */
let folder: string;

beforeAll(async () => {
  folder = await newFolder();
  const embedded = await start(folder);
  await queryDatabase(embedded.url, 'create table notes (text text)');
  await embedded.stop();
  return async () => {
    for (const folder of folders) await removeDataFolder(folder);
  };
});

describe('starting', () => {
  test('the first start makes the data, for us alone', async () => {
    expect(await modeOf(join(folder, 'postgres'))).toBe(0o700);
    expect(await modeOf(join(folder, 'postgres', 'latchkey-password'))).toBe(0o600);
    expect((await readdir(folder)).sort()).toEqual(['postgres', 'postgres.log']);
  });

  test('a later start finds what was written', async () => {
    const first = await start(folder);
    await queryDatabase(first.url, "insert into notes values ('kept')");
    await first.stop();
    const second = await start(folder);
    expect(second.adopted).toBe(false);
    expect(await notes(second.url)).toContain('kept');
    expect(await queryDatabase(second.url, 'show listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    await second.stop();
    expect(await processesIn(folder)).toEqual([]);
  });

  test('two first starts at once give one database', async () => {
    const folder = await newFolder();
    const [ours, theirs] = await Promise.all([start(folder), startMember(folder)]);
    expect(theirs.url).toBe(ours.url);
    expect([ours.adopted, theirs.adopted].sort()).toEqual([false, true]);
    expect((await readdir(folder)).sort()).toEqual(['postgres', 'postgres.log']);
    await Promise.all([ours.stop(), theirs.stop()]);
    expect(await processesIn(folder)).toEqual([]);
  });

  test('five later starts at once give one database', async () => {
    const all = await Promise.all([1, 2, 3, 4, 5].map(() => start(folder)));
    expect(new Set(all.map(({ url }) => url)).size).toBe(1);
    expect(all.filter(({ adopted }) => !adopted)).toHaveLength(1);
    await Promise.all(all.map(({ stop }) => stop()));
    expect(await processesIn(folder)).toEqual([]);
  });

  test('a number left behind that now belongs to another process is no obstacle', async () => {
    const crashed = await start(folder);
    const pidFile = join(folder, 'postgres', 'postmaster.pid');
    const left = await readFile(pidFile, 'utf8');
    await crashed.stop();
    await writeFile(pidFile, left.replace(/^\d+/, String(process.pid)));
    const embedded = await start(folder);
    expect(embedded.adopted).toBe(false);
    expect(embedded.url, 'the port of the one that crashed').toBe(crashed.url);
    expect(await notes(embedded.url)).toContain('kept');
  });

  test('what cannot be used as a data folder is told in a sentence that names the way out', async () => {
    const folder = await newFolder();
    const file = join(folder, 'file');
    await writeFile(file, '');
    const problem = await startEmbedded({ dataDir: file, log: silent() }).catch((error: unknown) => error);
    expect(problem).toBeInstanceOf(EmbeddedError);
    expect((problem as Error).message).toMatch(/ is not a folder: set DATA_DIR .*DATABASE_URL/);
  });
});

describe('stopping', () => {
  test('who leaves last stops it, not who started it', async () => {
    const command = await start(folder);
    const server = await startMember(folder);
    expect(server.adopted).toBe(true);
    await command.stop();
    await queryDatabase(server.url, "insert into notes values ('still there')");
    await server.stop();
    expect(await processesIn(folder)).toEqual([]);
  });

  test('connections left open do not hold it up, and stopping twice is stopping once', async () => {
    const embedded = await start(folder);
    const left = singleConnection(embedded.url, 'left open');
    await left.connect();
    await Promise.all([embedded.stop(), embedded.stop()]);
    expect(await processesIn(folder)).toEqual([]);
  });
});

describe('after a crash', () => {
  test('kill -9 of the server: the next start adopts the database with all that was acknowledged', async () => {
    const killed = await startMember(folder);
    await queryDatabase(killed.url, "insert into notes values ('acknowledged')");
    await killed.kill();
    expect(await findPostmaster({ folder: join(folder, 'postgres') })).toBeDefined();
    const next = await start(folder);
    expect(next).toMatchObject({ adopted: true, url: killed.url });
    expect(await notes(next.url)).toContain('acknowledged');
    await next.stop();
    expect(await processesIn(folder)).toEqual([]);
  });

  test('kill -9 of the database: it is started again at the same address, for all who use it', async () => {
    const log = silent();
    const embedded = await start(folder, log);
    const other = await startMember(folder);
    await queryDatabase(embedded.url, "insert into notes values ('acknowledged')");
    for (let round = 1; round <= 2; round++) {
      await killDatabase(folder);
      await vi.waitFor(async () => expect(await notes(embedded.url)).toContain('acknowledged'), patience);
      await vi.waitFor(() => expect(log.info).toHaveBeenCalledTimes(round), patience);
    }
    expect(log.warn.mock.calls.flat()).toEqual(Array(2).fill('The embedded PostgreSQL is gone; it is started again.'));
    await embedded.stop();
    // The other one pauses before it joins again after two crashes in a row; then it is the one that starts it.
    await vi.waitFor(async () => expect(await notes(other.url)).toContain('acknowledged'), patience);
    await other.stop();
    expect(await processesIn(folder)).toEqual([]);
  });

  test('stopping while it is being started again leaves nothing', async () => {
    const log = silent();
    const embedded = await start(folder, log);
    await killDatabase(folder);
    await vi.waitFor(() => expect(log.warn).toHaveBeenCalled(), patience);
    await embedded.stop();
    expect(await processesIn(folder)).toEqual([]);
  });
});

describe('the lock of the server', () => {
  test('is had by one, until it lets go', async () => {
    const { url } = await start(folder);
    const first = await lockServer(url);
    expect(first).toBeDefined();
    expect(await lockServer(url)).toBeUndefined();
    const [second] = await Promise.all([lockServer(url), first?.release()]);
    expect(second).toBeDefined();
    await second?.release();
  });

  test('survives the database', async () => {
    const { url } = await start(folder);
    const lock = await lockServer(url);
    await killDatabase(folder);
    const holders = `select from pg_locks join pg_stat_activity using (pid)
      where application_name = 'latchkey-server-lock' and locktype = 'advisory' and granted`;
    await vi.waitFor(async () => expect(await queryDatabase(url, holders)).toHaveLength(1), patience);
    await lock?.release();
    await vi.waitFor(async () => expect(await queryDatabase(url, holders)).toHaveLength(0), patience);
  });
});

describe.runIf(process.platform === 'linux')('in a folder that only its owner can enter, it runs', () => {
  const mapped = (uid: number): string[] => ['unshare', '--user', `--map-user=${uid}`, `--map-group=${uid}`, '--'];

  test.for<[string, string[]]>([
    ['root', isRoot ? [] : mapped(0)],
    ['an ordinary user', isRoot ? mapped(65534) : []],
    ['a user whom /etc/passwd does not list', mapped(4242)],
  ])('as %s', async ([, wrapper]) => {
    const folder = await newFolder();
    const member = await startMember(folder, wrapper);
    expect(await queryDatabase(member.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await member.stop();
    const again = await startMember(folder, wrapper);
    expect(again.adopted).toBe(false);
    await again.kill();
    const adopting = await startMember(folder, wrapper);
    expect(adopting.adopted).toBe(true);
    await adopting.stop();
    expect(await processesIn(folder)).toEqual([]);
  });

  test.runIf(isRoot)('as root on data of another user, which stays theirs', async () => {
    const folder = await copyOfFolder();
    for (const path of ['', ...(await readdir(folder, { recursive: true }))])
      await chown(join(folder, path), 65534, 65534);
    const embedded = await start(folder);
    await queryDatabase(embedded.url, "insert into notes values ('by root')");
    await embedded.stop();
    expect((await stat(join(folder, 'postgres', 'PG_VERSION'))).uid).toBe(65534);
    expect(await processesIn(folder)).toEqual([]);
    const refused = await startMember(folder, mapped(4242)).catch((error: Error) => error.message);
    expect(refused).toMatch(/EmbeddedError.*somebody else.*DATABASE_URL/);
  });
});

const patience = { timeout: 10_000, interval: 20 };

const leaving: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(leaving.splice(0).map((leave) => leave()));
});

async function newFolder(): Promise<string> {
  const folder = await newDataFolder();
  folders.push(folder);
  return folder;
}

/** A data folder as a clean stop leaves it, which spares the second that a first start takes. */
async function copyOfFolder(): Promise<string> {
  const copy = await newFolder();
  await cp(folder, copy, { recursive: true });
  return copy;
}

function silent() {
  return { info: vi.fn(), warn: vi.fn() };
}

async function start(folder: string, log = silent()): Promise<Embedded> {
  const embedded = await startEmbedded({ dataDir: folder, log });
  leaving.push(embedded.stop);
  return embedded;
}

type Member = { url: string; adopted: boolean; stop: () => Promise<void>; kill: () => Promise<void> };

/** Another process that uses the same folder. */
async function startMember(folder: string, wrapper: string[] = []): Promise<Member> {
  const script = join(import.meta.dirname, '../support/embedded-member.ts');
  const [program = '', ...args] = [...wrapper, process.execPath, script, folder];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const end = async (act: () => void): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) act();
    await ended;
  };
  const kill = () => end(() => child.kill('SIGKILL'));
  leaving.push(kill);
  const [line] = await Promise.race([once(child.stdout, 'data'), ended.then(() => ['{}'])]);
  const said = JSON.parse(String(line));
  if (typeof said.url !== 'string') throw new Error(String(line));
  return { ...said, stop: () => end(() => child.stdin.write('stop\n')), kill };
}

async function notes(url: string): Promise<unknown[]> {
  return (await queryDatabase(url, 'select text from notes')).map(({ text }) => text);
}

async function killDatabase(folder: string): Promise<void> {
  const find = () => findPostmaster({ folder: join(folder, 'postgres') });
  const postmaster = await find();
  if (!postmaster) throw new Error('There is no database to kill.');
  process.kill(postmaster.pid, 'SIGKILL');
  await vi.waitFor(async () => expect((await find())?.pid).not.toBe(postmaster.pid), patience);
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

/** The processes that live in the folder: the server and all of its helpers. Known on Linux only. */
async function processesIn(folder: string): Promise<string[]> {
  if (process.platform !== 'linux') return [];
  const all = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const homes = await Promise.all(all.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return homes.filter((home) => home.startsWith(folder));
}

/**
 * The server process on a cluster: found, started and stopped. It is its own master: it outlives the process that
 * started it, and its file `postmaster.pid` tells everybody else where it is. Who uses it is not known here.
 */
import { execFile, spawn } from 'node:child_process';
import { open, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Cluster } from './embedded-cluster.ts';
import { EmbeddedError, programEnvironment, wayOut } from './embedded-programs.ts';

/** `ready` when it takes connections; else it is starting, recovering from a crash, or stopping. */
export type Postmaster = { pid: number; port: number; ready: boolean };

type Folder = Pick<Cluster, 'folder'>;

const pollMs = 10;

const settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  log_line_prefix: '%m [%p] ',
  log_checkpoints: 'off',
  // A failed statement is told to the one who sent it; in this file its text would only leak people's data.
  log_min_messages: 'log',
};

/** The server running on this cluster, whoever started it. */
export async function findPostmaster(cluster: Folder): Promise<Postmaster | undefined> {
  const named = await readPidFile(cluster);
  return named && (await isServer(cluster, named.pid)) ? named : undefined;
}

async function readPidFile(cluster: Folder): Promise<Postmaster | undefined> {
  const text = await readFile(join(cluster.folder, 'postmaster.pid'), 'utf8').catch(() => '');
  const lines = text.split('\n');
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  return pid > 0 && port > 0 ? { pid, port, ready: lines[7]?.trim() === 'ready' } : undefined;
}

/** A process id is soon given anew, in containers at once: only the process that works in the folder is the server. */
async function isServer({ folder }: Folder, pid: number): Promise<boolean> {
  try {
    if (process.platform === 'win32') return process.kill(pid, 0);
    if (process.platform !== 'linux') return (await run('ps', ['-o', 'args=', '-p', `${pid}`])).stdout.includes(folder);
    const [works, own] = await Promise.all([`/proc/${pid}/cwd`, folder].map((path) => stat(path, { bigint: true })));
    return works?.ino === own?.ino && works?.dev === own?.dev;
  } catch (error) {
    // The folder of a process under another user id is not shown to everybody; its command line is.
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') return false;
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0').includes(folder);
  }
}

const run = promisify(execFile);

/**
 * Starts a server on `port`; without one, on the port of the last server if that one crashed, else on any that is free.
 * Answers undefined when another process was first, the port was taken, or somebody killed it: then look again.
 * @throws {EmbeddedError} when the server cannot run
 */
export async function startPostmaster(
  cluster: Cluster,
  port: number | undefined,
  signal: AbortSignal,
): Promise<Postmaster | undefined> {
  const stale = await readPidFile(cluster);
  if (stale && (await isServer(cluster, stale.pid))) return undefined;
  // PostgreSQL takes any living process of the stale number for a server, except this one.
  const env = { ...programEnvironment, ...(stale && { PG_GRANDPARENT_PID: String(stale.pid) }) };

  const [program = '', ...args] = cluster.programs.postgres;
  const options = { ...settings, ...cluster.settings, port: port ?? (await freePort(stale?.port)) };
  args.push('-D', cluster.folder, ...Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`]));

  const log = await openLog(cluster);
  try {
    // Detached: Ctrl-C goes to a whole process group, and must not stop the database before its users have finished.
    const stdio = ['ignore', log.fd, log.fd] as const;
    const child = spawn(program, args, { env, detached: true, windowsHide: true, stdio: [...stdio] });
    child.unref();
    let failure: string | undefined;
    let killed = false;
    child.once('error', (error) => {
      failure = error.message;
    });
    child.once('exit', (code, killer) => {
      killed = killer !== null;
      failure = `it ended with code ${code}`;
    });
    for (;;) {
      if (signal.aborted) child.kill('SIGINT');
      await delay(pollMs);
      if (killed) return undefined;
      if (failure) return explainExit(await readLog(cluster, log.start), child.pid, failure);
      const postmaster = await readPidFile(cluster);
      if (postmaster?.pid === child.pid && postmaster?.ready) return postmaster;
    }
  } finally {
    await log.close();
  }
}

/** The preferred port when nobody has it, else one that the system picks. On this machine's own address only. */
async function freePort(preferred = 0): Promise<number> {
  const server = createServer();
  const port = await new Promise<number | undefined>((resolve) => {
    server.once('error', () => resolve(undefined));
    server.listen(preferred, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' ? address?.port : undefined);
    });
  });
  await new Promise((resolve) => server.close(resolve));
  return port ?? freePort();
}

const logLimitBytes = 1_000_000;

function logPath(cluster: Cluster): string {
  return `${cluster.folder}.log`;
}

async function openLog(cluster: Cluster): Promise<{ fd: number; start: number; close: () => Promise<void> }> {
  const file = await open(logPath(cluster), 'a', 0o600);
  if ((await file.stat()).size > logLimitBytes) await file.truncate();
  return { fd: file.fd, start: (await file.stat()).size, close: () => file.close() };
}

async function readLog(cluster: Cluster, start: number): Promise<string> {
  return (await readFile(logPath(cluster))).subarray(start).toString('utf8');
}

/** Another process was first or gives way, helpers of a killed server are still about, the port was taken. */
const passing = /lock file .*(already exists|is empty|No such file)|shared memory block|any TCP\/IP sockets/;

function explainExit(log: string, pid: number | undefined, failure: string): undefined {
  // Another process may be writing the same log; what has no number was said before PostgreSQL itself ran.
  const said = log.split('\n').filter((line) => !/^\S+ \S+ \S+ \[\d+\]/.test(line) || line.includes(`[${pid}]`));
  // Recovery is done by a process of the server's, which says itself what was in its way: a full disk, for one.
  const recovery = /startup process \(PID (\d+)\) exited/.exec(said.join('\n'))?.[1];
  const lines = recovery ? log.split('\n').filter((line) => line.includes(`[${recovery}]`)) : said;
  const fatal = lines.find((line) => /FATAL|PANIC/.test(line)) ?? lines.findLast((line) => line.trim() !== '');
  if (passing.test(fatal ?? '')) return undefined;
  throw new EmbeddedError(
    `The embedded PostgreSQL does not start (${fatal?.replace(/^.*(?:FATAL|PANIC): +/, '') ?? failure}): ${wayOut}.`,
  );
}

/**
 * Stops the server, clients or not, and waits until it is gone. A stop in good order takes a tenth of a second; after
 * five, PostgreSQL is told to drop everything, which costs a recovery at the next start but nothing acknowledged.
 */
export async function stopPostmaster(cluster: Folder): Promise<void> {
  const postmaster = await findPostmaster(cluster);
  if (!postmaster) return;
  for (const killer of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    send(postmaster.pid, killer);
    const end = Date.now() + 5_000;
    while (Date.now() < end) {
      if (!(await isServer(cluster, postmaster.pid))) return;
      await delay(pollMs);
    }
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has just ended.
  }
}

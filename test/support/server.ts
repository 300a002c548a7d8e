/**
 * The server as its operator runs it: a process of its own, started, signalled and killed. Nothing of it outlives the
 * test process, however that ends.
 */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, vi } from 'vitest';
import { freePort } from './listen.ts';

export type Ending = { code: number | null; signal: NodeJS.Signals | null };

export type ServerProcess = {
  origin: string;
  issuer: string;
  port: number;
  pid: number;
  /** What was said so far. */
  stdout(): string;
  stderr(): string;
  /** Resolves once `text` was printed; rejects when the process ends without. */
  printed(text: string): Promise<void>;
  /** Sends a signal to the process alone, or to its whole group as a terminal does. */
  signal(name: NodeJS.Signals, to?: 'process' | 'group'): void;
  ended: Promise<Ending>;
  /** SIGTERM, and the end awaited. */
  stop(): Promise<Ending>;
  /** kill -9: no handler runs, nothing is finished. */
  kill9(): Promise<void>;
  /** True while any process of its group lives. */
  isAlive(): boolean;
};

export type ServerOptions = {
  /** On top of what every test wants; undefined takes a variable away. */
  env: Record<string, string | undefined>;
  port?: number;
  /** How an operator starts it; `node` spares npm's half second. */
  through?: 'node' | 'npm';
  /** A command line that runs the server's own, appended to it. */
  wrapper?: readonly string[];
};

/** What servers on one database must share. */
export const sharedSecrets = {
  OIDC_COOKIE_SECRET: randomBytes(32).toString('base64url'),
  OIDC_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
};

const root = join(import.meta.dirname, '../..');
const command = {
  node: [process.execPath, join(root, 'src/main.ts')],
  npm: ['npm', 'start', '--silent', '--prefix', root],
};

const started = new Set<ServerProcess>();

afterAll(async () => {
  await Promise.all([...started].map((server) => server.kill9()));
});

/** Starts the server and waits until it says that it is ready. */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  const server = await launchServer(options);
  await server.printed('Latchkey is ready.');
  return server;
}

/** Starts the server and does not wait for anything. */
export async function launchServer({
  env,
  port,
  through = 'node',
  wrapper = [],
}: ServerOptions): Promise<ServerProcess> {
  const ownPort = port ?? (await freePort());
  const [program = '', ...args] = [...wrapper, ...command[through]];
  const variables: NodeJS.ProcessEnv = {
    // Nothing of the developer's own environment, nor a .env file: the working directory is another.
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    HOME: tmpdir(),
    npm_config_logs_max: '0',
    npm_config_update_notifier: 'false',
    // As src/loading.ts has it, and for what comes before that, too.
    NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/latchkey/compiled'),
    PORT: String(ownPort),
    OIDC_ISSUER: `http://127.0.0.1:${ownPort}`,
    BCRYPT_ROUNDS: '10',
    ...env,
  };
  const child = spawn(program, args, {
    cwd: tmpdir(),
    env: variables,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${program} cannot be run`);
  const letGo = endWithThisProcess(pid);
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
    });
  }
  const ended = once(child, 'close').then(([code, signal]): Ending => {
    started.delete(server);
    letGo();
    return { code, signal };
  });

  const origin = variables.OIDC_ISSUER ?? `http://localhost:${ownPort}`;
  const server: ServerProcess = {
    origin,
    issuer: `${origin}/oidc`,
    port: ownPort,
    pid,
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    async printed(text) {
      const early = ended.then(({ code, signal }) => {
        throw new Error(`ended with ${code ?? signal} instead of printing "${text}": ${said.stdout}${said.stderr}`);
      });
      early.catch(() => {});
      while (!said.stdout.includes(text)) await Promise.race([once(child.stdout, 'data'), early]);
    },
    signal: (name, to = 'process') => void send(to === 'group' ? -pid : pid, name),
    ended,
    stop() {
      send(pid, 'SIGTERM');
      return ended;
    },
    async kill9() {
      if (started.has(server)) send(-pid, 'SIGKILL');
      await ended;
    },
    isAlive: () => send(-pid, 0),
  };
  started.add(server);
  return server;
}

function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

/** Waits until the server says that it can serve again: what was wrong around it is over. */
export async function untilReady({ origin }: { origin: string }): Promise<void> {
  const readiness = async () => {
    const { status, body } = await fetch(`${origin}/readyz`);
    await body?.cancel();
    return status;
  };
  await vi.waitFor(async () => expect(await readiness()).toBe(200), { timeout: 20_000, interval: 50 });
}

/** The processes that this one has started and that live. */
export async function childrenOf(pid: number): Promise<number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=']);
  const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/).map(Number));
  return rows.flatMap(([child = 0, parent]) => (parent === pid ? [child] : []));
}

/** A guard kills the group when this process is gone without a word; answers how to send the guard home. */
export function endWithThisProcess(pid: number): () => void {
  const guard = spawn('sh', ['-c', 'read -r word || kill -s KILL -- "-$0"', String(pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.unref();
  return () => guard.stdin.end('done\n');
}

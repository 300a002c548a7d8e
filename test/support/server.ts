/**
 * The server as its operator runs it: a process of its own, started, signalled and killed. Nothing of it outlives the
 * test process, however that ends.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, vi } from 'vitest';
import { freePort } from './listen.ts';
import { cleanEnvironment, launch, type Running, root } from './running.ts';

export type ServerProcess = Running & { origin: string; issuer: string; port: number };

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

const command = {
  node: [process.execPath, join(root, 'src/main.ts')],
  npm: ['npm', 'start', '--silent', '--prefix', root],
};

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
  const variables: NodeJS.ProcessEnv = {
    ...cleanEnvironment(),
    PORT: String(ownPort),
    OIDC_ISSUER: `http://127.0.0.1:${ownPort}`,
    BCRYPT_ROUNDS: '10',
    ...env,
  };
  const origin = variables.OIDC_ISSUER ?? `http://localhost:${ownPort}`;
  const running = launch([...wrapper, ...command[through]], variables);
  return { ...running, origin, issuer: `${origin}/oidc`, port: ownPort };
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

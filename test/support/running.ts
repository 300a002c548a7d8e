/** A program in a process of its own, started, signalled and killed. Nothing of it outlives the test process, however that ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll } from 'vitest';

export const root = join(import.meta.dirname, '../..');

export type Ending = { code: number | null; signal: NodeJS.Signals | null };

export type Running = {
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

/** Nothing of the developer's own environment, nor a .env file: the working directory is another. */
export const cleanEnvironment = (): NodeJS.ProcessEnv => ({
  PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
  HOME: tmpdir(),
  npm_config_logs_max: '0',
  npm_config_update_notifier: 'false',
  // As src/loading.ts has it, and for what comes before that, too.
  NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/latchkey/compiled'),
});

const started = new Set<Running>();

afterAll(async () => {
  await Promise.all([...started].map((running) => running.kill9()));
});

/** Starts a program and does not wait for anything. */
export function launch(command: readonly string[], variables: NodeJS.ProcessEnv): Running {
  const [program = '', ...args] = command;
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
    started.delete(running);
    letGo();
    return { code, signal };
  });

  const running: Running = {
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
      if (started.has(running)) send(-pid, 'SIGKILL');
      await ended;
    },
    isAlive: () => send(-pid, 0),
  };
  started.add(running);
  return running;
}

function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
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

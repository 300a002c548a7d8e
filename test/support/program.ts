/** A program that runs in the foreground beside a test, with all it starts; nothing of it outlives the test process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { endWithThisProcess } from './running.ts';

export type Program = {
  pid: number;
  /** Everything it said, on both streams. */
  output(): string;
  signal(name: NodeJS.Signals): void;
  /** Sends a signal, waits for the end and answers nothing. */
  end(name?: NodeJS.Signals): Promise<void>;
  /** kill -9 for it and all its descendants, as when the machine loses its power. */
  kill9(): Promise<void>;
  /** Waits until `condition` holds; rejects with what the program said when it ends before, or after a minute. */
  until(condition: () => boolean | Promise<boolean>): Promise<void>;
};

export function startProgram([path = '', ...args]: string[], env: Record<string, string> = {}): Program {
  const child = spawn(path, args, {
    env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC', ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${path} cannot be run`);
  const letGo = endWithThisProcess(pid);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  let running = true;
  const ended = once(child, 'exit').then(() => {
    running = false;
    letGo();
  });
  return {
    pid,
    output: () => said,
    signal: (name) => void child.kill(name),
    async end(name = 'SIGTERM') {
      if (running) child.kill(name);
      await ended;
    },
    async kill9() {
      const family = descendants(pid);
      for (const member of running ? [pid, ...family] : []) kill(member);
      await ended;
    },
    async until(condition) {
      for (const end = Date.now() + 60_000; !(await condition()); await delay(20)) {
        if (!running || Date.now() > end) throw new Error(`${path} ${running ? 'is not ready' : 'ended'}: ${said}`);
      }
    },
  };
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

function descendants(pid: number): number[] {
  let children: number[] = [];
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch {
    // It has ended.
  }
  return children.flatMap((child) => [child, ...descendants(child)]);
}

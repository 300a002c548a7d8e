/**
 * bcrypt in threads of its own. The package's asynchronous calls would take libuv's pool, where tokens are signed:
 * eight hashes there hold a signature up for half a second. Here a storm of sign-ins fills a bounded queue instead.
 */
import { getCompileCacheDir } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { Piscina } from 'piscina';
import type { Derivation } from './key-derivation.ts';

export type Bcrypt = {
  /** The cost of new hashes: 2^rounds. */
  rounds: number;
  /** Hashes at most 72 bytes of `text`, which is where bcrypt stops reading. Throws `BusyError`. */
  hash(text: string): Promise<string>;
  /** False also for what is no bcrypt hash. Throws `BusyError`. */
  compare(text: string, hash: string): Promise<boolean>;
  /** In the same threads, a key of another make than bcrypt, in base64. Throws `BusyError`. */
  derive(text: string, derivation: Derivation): Promise<string>;
};

export type BcryptPool = Bcrypt & {
  /** The same threads through a queue of its own. Lanes take turns, so a full one does not hold up another. */
  lane(name: string): Bcrypt;
  /** Refuses what waits, lets what runs finish, and ends the threads. */
  close(): Promise<void>;
};

/** Too many hashes wait already: try again in a moment (HTTP 503). */
export class BusyError extends Error {
  override name = 'BusyError';
}

type Job = { start: () => void; refuse: (error: BusyError) => void };

const idleTimeoutMs = 60_000;

/** Alone, a process leaves one core to its event loop. */
function threadsBeside(processes: number): number {
  const cores = availableParallelism();
  return Math.max(1, Math.min(2, processes === 1 ? cores - 1 : Math.floor(cores / processes)));
}

/**
 * `threads` run at once, `maxWaiting` more may wait in each lane. Threads start when first needed and end when idle.
 * Several `processes` share the cores.
 */
export function createBcryptPool({
  rounds,
  processes = 1,
  threads = threadsBeside(processes),
  maxWaiting = 100,
}: {
  rounds: number;
  processes?: number;
  threads?: number;
  maxWaiting?: number;
}): BcryptPool {
  const compiled = getCompileCacheDir();
  const workers = new Piscina({
    filename: new URL('./bcrypt-worker.ts', import.meta.url).href,
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: idleTimeoutMs,
    // Where threads have a priority (Linux), the event loop's is higher.
    niceIncrement: 10,
    execArgv: [],
    // Finds what Node keeps of a start: without, each thread would load Node's TypeScript compiler, which takes 14 MB.
    env: compiled ? { NODE_COMPILE_CACHE: dirname(compiled) } : {},
  });
  // The lane at the front has waited longest for its turn.
  const lanes = new Map<string, Job[]>();
  let running = 0;
  let closed = false;

  function run<T>(lane: string, name: 'hash' | 'compare' | 'derive', task: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting = lanes.get(lane) ?? [];
      if (closed || (running >= threads && waiting.length >= maxWaiting))
        throw new BusyError('too many password hashes');
      waiting.push({ start: () => workers.run(task, { name }).finally(release).then(resolve, reject), refuse: reject });
      lanes.set(lane, waiting);
      startNext();
    });
  }

  function startNext(): void {
    const next = lanes.entries().next();
    if (running >= threads || next.done) return;
    const [lane, waiting] = next.value;
    lanes.delete(lane);
    const job = waiting.shift();
    if (waiting.length > 0) lanes.set(lane, waiting);
    if (!job) return;
    running += 1;
    job.start();
  }

  function release(): void {
    running -= 1;
    startNext();
  }

  const lane = (name: string): Bcrypt => ({
    rounds,
    hash: (text) => run(name, 'hash', { text, rounds }),
    compare: (text, hash) => run(name, 'compare', { text, hash }),
    derive: (text, derivation) => run(name, 'derive', { text, derivation }),
  });

  return {
    ...lane('default'),
    lane,
    async close() {
      closed = true;
      for (const job of [...lanes.values()].flat()) job.refuse(new BusyError('shutting down'));
      lanes.clear();
      await workers.close();
    },
  };
}

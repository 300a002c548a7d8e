/**
 * Several processes that serve requests, looked after by this one, which serves none. It hands them the connections in
 * turn, replaces the one that ends or does not answer any more, and stops them.
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { watchHandedOver } from './handed-over.ts';
import { relayMetrics } from './metrics-workers.ts';
import { StartError } from './start-error.ts';
import type { Serving, StopRequest } from './stop.ts';

/** `worker` is its number, which its successor inherits; the one that leads does what is to be done once per server. */
export type StartWorker = { type: 'latchkey:start'; databaseUrl: string; worker: number; leads: boolean };
export type ToWorker = StartWorker | { type: 'latchkey:ping' } | { type: 'latchkey:drain' } | { type: 'latchkey:stop' };
export type FromWorker =
  | { type: 'latchkey:pong' }
  | { type: 'latchkey:ready' }
  | { type: 'latchkey:failed'; reason: string };

/** How many pings, one a second, may stay unanswered. Counted, not timed: a machine that slept has missed none. */
const patience = { starting: 60, serving: 10 };
const pingMs = 1_000;
/** A worker that has served for so long is replaced at once when it ends; earlier ends count as failures in a row. */
const steadyMs = 30_000;
const longestPauseMs = 30_000;
/** When nobody serves, so many failures of a worker in a row end the server: its supervisor decides what is next. */
const failuresInARow = 5;
/** Less than the whole of stopping may take. */
const stopMs = 25_000;

type Seat = {
  number: number;
  worker: Worker | undefined;
  servesSince: number | undefined;
  unanswered: number;
  failures: number;
  /** What the worker said before it ended. */
  reason: string | undefined;
};

/**
 * Starts as many workers as the configuration says and resolves when all of them listen. `release` is given at once
 * what stops them.
 * @throws {StartError} when they cannot start, in the words of the first that says why
 */
export async function serve(
  {
    config,
    databaseUrl,
    log,
    stop,
  }: { config: { workers: number }; databaseUrl: string; log: Logger; stop: Pick<StopRequest, 'unlessStopped'> },
  release: (() => Promise<void>)[],
): Promise<Serving> {
  cluster.setupPrimary({ exec: join(import.meta.dirname, '../main.ts') });
  relayMetrics(cluster);
  const ready = Promise.withResolvers<void>();
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  // At times nobody is waiting for it.
  failed.catch(() => {});
  let announced = false;
  let leaving = false;
  const pauses = new Set<NodeJS.Timeout>();

  const fill = (seat: Seat): void => {
    const worker = cluster.fork();
    const closeHandedOver = watchHandedOver(worker);
    Object.assign(seat, { worker, servesSince: undefined, unanswered: 0, reason: undefined });
    tell(worker, { type: 'latchkey:start', databaseUrl, worker: seat.number, leads: seat.number === 1 });
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'latchkey:pong') seat.unanswered = 0;
      if (message.type === 'latchkey:failed') seat.reason = message.reason;
      if (message.type !== 'latchkey:ready') return;
      seat.servesSince = performance.now();
      seat.unanswered = 0;
      if (announced) log.info({ worker: seat.number, pid: worker.process.pid }, 'worker replaced');
      if (seats.every(({ servesSince }) => servesSince !== undefined)) ready.resolve();
    });
    worker.once('exit', (code, signal) => {
      // One that stops by itself has given back what it did not take.
      if (!leaving) closeHandedOver();
      replace(seat, worker, signal ?? code);
    });
    worker.on('error', (error) => {
      if (worker.process.pid === undefined) replace(seat, worker, error.message);
    });
  };

  const replace = (seat: Seat, worker: Worker, ending: string | number): void => {
    const { servesSince, reason } = seat;
    Object.assign(seat, { worker: undefined, servesSince: undefined });
    if (leaving) return;
    const steady = servesSince !== undefined && performance.now() - servesSince > steadyMs;
    seat.failures = steady ? 0 : seat.failures + 1;
    const somebodyServes = announced && seats.some((other) => other.servesSince !== undefined);
    if ((reason && !announced) || (seat.failures >= failuresInARow && !somebodyServes)) {
      fail(new StartError(reason ?? `Workers end again and again, the last one with ${ending}.`));
      return;
    }
    const pauseMs = steady ? 0 : Math.min(longestPauseMs, 250 * 2 ** (seat.failures - 1));
    const facts = { worker: seat.number, pid: worker.process.pid, ending, ...(reason && { reason }), pauseMs };
    log.error(facts, 'a worker ended and is replaced');
    const pause = setTimeout(() => {
      pauses.delete(pause);
      fill(seat);
    }, pauseMs);
    pauses.add(pause);
  };

  const ping = (seat: Seat): void => {
    const { worker, servesSince, unanswered } = seat;
    if (!worker) return;
    const limit = servesSince === undefined ? patience.starting : patience.serving;
    seat.unanswered += 1;
    if (unanswered < limit) {
      tell(worker, { type: 'latchkey:ping' });
      return;
    }
    if (unanswered === limit) log.error({ worker: seat.number, pid: worker.process.pid }, 'a worker does not answer');
    worker.process.kill('SIGKILL');
  };

  const seats = Array.from({ length: config.workers }, (_, index): Seat => {
    const nobody = { worker: undefined, servesSince: undefined, unanswered: 0, failures: 0, reason: undefined };
    return { number: index + 1, ...nobody };
  });
  const workers = () => seats.flatMap(({ worker }) => worker ?? []);
  const pings = setInterval(() => seats.forEach(ping), pingMs);
  const leave = (): void => {
    leaving = true;
    for (const pause of pauses) clearTimeout(pause);
  };
  release.push(async () => {
    leave();
    clearInterval(pings);
    const killed = await Promise.all(workers().map(stopWorker));
    if (killed.some(Boolean)) throw new Error(`a worker did not end within ${stopMs / 1000} seconds`);
  });
  seats.forEach(fill);
  await stop.unlessStopped(Promise.race([ready.promise, failed]));
  announced = true;
  return {
    failed,
    drain() {
      leave();
      for (const worker of workers()) tell(worker, { type: 'latchkey:drain' });
    },
  };
}

/** Whether it had to be killed. */
async function stopWorker(worker: Worker): Promise<boolean> {
  let killed = false;
  const ended = once(worker, 'exit');
  const timer = setTimeout(() => {
    killed = worker.process.kill('SIGKILL');
  }, stopMs);
  tell(worker, { type: 'latchkey:stop' });
  await ended;
  clearTimeout(timer);
  return killed;
}

/** Whoever ends just now is told nothing more. */
function tell(worker: Worker, message: ToWorker): void {
  worker.send(message, undefined, () => {});
}

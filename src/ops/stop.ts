import { once } from 'node:events';
import type { Server } from 'node:http';

/** How long requests under way may take once the process is stopping. */
const finishMs = 10_000;
/** How long all of stopping may take before the process ends with things left undone. Supervisors wait longer (deploy/). */
export const stopPatienceMs = 30_000;
const sweepMs = 50;

/** What serves requests, in this process or in others. */
export type Serving = {
  /** Turns readiness red, and has connections end after their next answer; requests are still served. */
  drain(): void;
  /** Rejects when it cannot go on by itself. */
  failed: Promise<never>;
};

export type StopRequest = {
  /** Aborts when the process is asked to stop. */
  signal: AbortSignal;
  /** Rejects at the same time and with the same reason. */
  stopped: Promise<never>;
  /** Asks. Later requests change nothing. */
  ask(reason: string): void;
  /** What is left of the work when the process is asked to stop ends with the process. */
  unlessStopped<T>(work: Promise<T>): Promise<T>;
};

export function stopRequest(): StopRequest {
  const request = new AbortController();
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  // At times nobody is waiting for it.
  stopped.catch(() => {});
  return {
    signal: request.signal,
    stopped,
    ask(reason) {
      if (request.signal.aborted) return;
      request.abort(new Error(reason));
      reject(request.signal.reason);
    },
    unlessStopped: (work) => Promise.race([stopped, work]),
  };
}

/**
 * Calls back for every signal that asks a process to stop. The same signal twice, as when a terminal or a service
 * manager signals npm and its whole group, is no reason to hurry.
 */
export function onStopSignal(called: (name: NodeJS.Signals) => void): void {
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, called);
}

/** Takes the steps in reverse, each though another failed. When they take half a minute, the process ends at once. */
export async function undo(steps: readonly (() => Promise<void>)[], onError: (error: unknown) => void): Promise<void> {
  const timer = setTimeout(() => {
    onError(new Error(`not done after ${stopPatienceMs / 1000} seconds`));
    process.exit(1);
  }, stopPatienceMs);
  for (const step of steps.toReversed()) await step().catch(onError);
  clearTimeout(timer);
}

/** From now on each answer is the last on its connection: clients and load balancers open the next one elsewhere. */
export function endAfterAnswers(server: Server): void {
  server.prependListener('request', (_req, res) => res.setHeader('Connection', 'close'));
}

/** Stops accepting, lets running requests finish, and cuts off what has not finished after ten seconds. */
export async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  // A connection whose request was under way would be kept alive for the next one, and the server with it.
  const sweep = setInterval(() => server.closeIdleConnections(), sweepMs);
  const timer = setTimeout(() => server.closeAllConnections(), finishMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(timer);
}

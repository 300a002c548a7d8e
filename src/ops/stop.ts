import { once } from 'node:events';
import type { Server } from 'node:http';

/** How long requests under way may take once the process is stopping. */
const finishMs = 10_000;
/** How long all of stopping may take before the process ends with things left undone. */
const patienceMs = 30_000;
const sweepMs = 50;

export type StopRequest = {
  /** Aborts when the process is asked to stop. */
  signal: AbortSignal;
  /** Rejects at the same time and with the same reason. */
  stopped: Promise<never>;
};

/**
 * Listens for the first signal that asks the process to stop. The same signal twice, as when a terminal or a service
 * manager signals npm and its whole group, is one request: later ones change nothing.
 */
export function stopRequest(): StopRequest {
  const request = new AbortController();
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  // At times nobody is waiting for it.
  stopped.catch(() => {});
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (request.signal.aborted) return;
      request.abort(new Error(`asked to stop by ${name}`));
      reject(request.signal.reason);
    });
  }
  return { signal: request.signal, stopped };
}

/** Takes the steps in reverse, each though another failed. When they take half a minute, the process ends at once. */
export async function undo(steps: readonly (() => Promise<void>)[], onError: (error: unknown) => void): Promise<void> {
  const timer = setTimeout(() => {
    onError(new Error(`not done after ${patienceMs / 1000} seconds`));
    process.exit(1);
  }, patienceMs);
  for (const step of steps.toReversed()) await step().catch(onError);
  clearTimeout(timer);
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

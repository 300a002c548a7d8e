import { EventEmitter, once } from 'node:events';
import type { Server } from 'node:http';

const finishMs = 10_000;

/**
 * Resolves with the first signal that asks the process to stop. The same signal twice, as when a terminal or a service
 * manager signals npm and its whole group, is one request: later ones change nothing.
 */
export async function untilAskedToStop(): Promise<NodeJS.Signals> {
  const asked = new EventEmitter();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => asked.emit('stop', signal));
  }
  const [signal] = (await once(asked, 'stop')) as [NodeJS.Signals];
  return signal;
}

/** Stops accepting, lets running requests finish, and cuts off what has not finished after ten seconds. */
export async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  const timer = setTimeout(() => server.closeAllConnections(), finishMs);
  await closed;
  clearTimeout(timer);
}

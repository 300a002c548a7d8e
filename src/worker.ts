/**
 * One of the processes that serve requests when there are several. The primary (start.ts, ops/workers.ts) has read `.env`,
 * migrated the database and looks after this one; it says when to start and when to stop. When the primary is gone,
 * node:cluster ends this process.
 */
import { readConfig } from './config.ts';
import { explain } from './explain.ts';
import { createLog } from './ops/log.ts';
import { siblingMetrics } from './ops/metrics-workers.ts';
import { onStopSignal, stopRequest, undo } from './ops/stop.ts';
import type { FromWorker, StartWorker, ToWorker } from './ops/workers.ts';

// A terminal and a service manager signal the whole group: the primary knows, and in which order to stop.
onStopSignal(() => {});

const stop = stopRequest();
const draining = Promise.withResolvers<void>();
const start = Promise.withResolvers<StartWorker>();
process.on('message', (message: ToWorker) => {
  if (message.type === 'latchkey:start') start.resolve(message);
  if (message.type === 'latchkey:ping') say({ type: 'latchkey:pong' });
  if (message.type === 'latchkey:drain') draining.resolve();
  if (message.type === 'latchkey:stop') stop.ask('asked to stop by the primary');
});

try {
  await run(await start.promise);
} catch (error) {
  if (!stop.signal.aborted) {
    process.exitCode = 1;
    await say({ type: 'latchkey:failed', reason: explain(error) });
  }
}
process.exit();

async function run({ databaseUrl, worker, leads }: StartWorker): Promise<void> {
  const config = readConfig();
  const log = createLog({ level: config.logLevel, base: { worker } });
  const release: (() => Promise<void>)[] = [];
  try {
    const { serve } = await import('./serve.ts');
    const serving = await serve({ config, databaseUrl, log, leads, siblings: siblingMetrics(), stop }, release);
    say({ type: 'latchkey:ready' });
    draining.promise.then(serving.drain);
    await stop.stopped;
  } finally {
    await undo(release, (err) => {
      log.error({ err }, 'stopping did not go well');
      process.exitCode = 1;
    });
  }
}

/** Resolves when it is said, or cannot be said any more. */
function say(message: FromWorker): Promise<void> {
  return new Promise((resolve) => process.send?.(message, undefined, undefined, () => resolve()));
}

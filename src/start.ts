/**
 * Starts and stops the server, and nothing else: configuration, database, and whatever serves requests, which is this
 * process (serve.ts) or several others (worker.ts) that this one looks after.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Config, configWarnings, loadEnvironment, readConfig } from './config.ts';
import { lockServer, startEmbedded } from './db/embedded.ts';
import { migrateWhenReady } from './db/migrate.ts';
import { explain } from './explain.ts';
import { createLog } from './ops/log.ts';
import { StartError } from './ops/start-error.ts';
import { onStopSignal, type Serving, stopRequest, undo } from './ops/stop.ts';

type Release = (() => Promise<void>)[];

const stop = stopRequest();
onStopSignal((name) => stop.ask(`asked to stop by ${name}`));
try {
  loadEnvironment();
  await run(readConfig());
} catch (error) {
  // Ctrl-C in a terminal also reaches the programs that a start runs; their failing is no news then.
  if (!stop.signal.aborted) {
    process.stderr.write(`${explain(error)}\n`);
    process.exitCode = 1;
  }
}
// What was given up half-way, and connections to a database that hangs, would keep the process.
process.exit();

async function run(config: Config): Promise<void> {
  const log = createLog({ level: config.logLevel, base: null });
  for (const warning of configWarnings()) log.warn(warning);
  stop.signal.addEventListener('abort', () => log.info(stop.signal.reason.message));
  const release: Release = [];
  try {
    const startServing = config.workers === 1 ? import('./serve.ts') : import('./ops/workers.ts');
    const url = config.databaseUrl ?? (await startOwnDatabase(config, log, release));
    const onWait = (reason: string) => log.warn({ reason }, 'waiting for the database');
    const applied = await stop.unlessStopped(migrateWhenReady(url, { onWait }));
    if (applied > 0) log.info({ applied }, 'database migrated');
    const serving = await (await startServing).serve({ config, databaseUrl: url, log, stop }, release);
    announce(config);
    await untilStopped(serving, config.stopDelaySeconds);
  } finally {
    await undo(release, (err) => {
      log.error({ err }, 'stopping did not go well');
      process.exitCode = 1;
    });
  }
}

/** Load balancers see that this server is going before it goes. Always throws. */
async function untilStopped(serving: Serving, delaySeconds: number): Promise<void> {
  try {
    await Promise.race([stop.stopped, serving.failed]);
  } finally {
    serving.drain();
    if (stop.signal.aborted) await delay(delaySeconds * 1000);
  }
}

async function startOwnDatabase(config: Config, log: Logger, release: Release): Promise<string> {
  const embedded = await startEmbedded({ dataDir: config.dataDir, log, signal: stop.signal });
  release.push(embedded.stop);
  const lock = await stop.unlessStopped(lockServer(embedded.url));
  if (!lock) throw new StartError(`Another Latchkey server is running on ${config.dataDir}. Stop it, or set DATA_DIR.`);
  release.push(lock.release);
  return embedded.url;
}

/** The first thing an operator reads. */
function announce(config: Config): void {
  const rows: [string, string][] = [
    ['Issuer', config.issuer],
    ['Discovery', `${config.issuer}/.well-known/openid-configuration`],
    ['Open first', `${config.origin}/`],
    ['Data', config.databaseUrl === undefined ? config.dataDir : 'PostgreSQL at DATABASE_URL'],
  ];
  const lines = rows.map(([label, value]) => `  ${label.padEnd(11)}${value}`);
  process.stdout.write(`\nLatchkey is ready.\n\n${lines.join('\n')}\n\n`);
}

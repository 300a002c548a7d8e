/** Starts and stops the process, and nothing else: configuration, database, application, listening, signals. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { type Logger, pino } from 'pino';
import { createApp } from './app.ts';
import { type Config, ConfigError, configWarnings, loadEnvironment, readConfig } from './config.ts';
import { isUnavailable, openDatabase } from './db/database.ts';
import { EmbeddedError, lockServer, startEmbedded } from './db/embedded.ts';
import { migrate } from './db/migrate.ts';
import { closeServer, untilAskedToStop } from './ops/stop.ts';

/** How long a start waits for a database that does not answer yet. */
const databasePatienceMs = 30_000;

/** An operator can mend it; said in one line, without a stack. */
class StartError extends Error {}

try {
  loadEnvironment();
  await run(readConfig());
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  const known = error instanceof ConfigError || error instanceof EmbeddedError || error instanceof StartError;
  process.stderr.write(`${known ? message : `Latchkey stopped: ${message}\n${(error as Error).stack ?? ''}`}\n`);
  process.exitCode = 1;
}

async function run(config: Config): Promise<void> {
  const log = pino({ level: config.logLevel, base: null });
  for (const warning of configWarnings()) log.warn(warning);
  const stopped = untilAskedToStop();
  const release: (() => Promise<void>)[] = [];
  try {
    const url = config.databaseUrl ?? (await startOwnDatabase(config, log, release));
    await migrateWhenReady(url, log);
    const database = openDatabase(url, { onError: (error) => log.warn({ err: error }, 'database connection lost') });
    release.push(database.close);
    const app = await createApp({ config, database, log });
    release.push(app.close);
    const server = await listen(config, app.handler);
    release.push(() => closeServer(server));
    announce(config);
    log.info({ signal: await stopped }, 'stopping');
    app.drain();
  } finally {
    for (const step of release.reverse()) await step();
  }
}

async function startOwnDatabase(config: Config, log: Logger, release: (() => Promise<void>)[]): Promise<string> {
  const embedded = await startEmbedded({ dataDir: config.dataDir, log });
  release.push(embedded.stop);
  const lock = await lockServer(embedded.url);
  if (!lock) throw new StartError(`Another Latchkey server is running on ${config.dataDir}. Stop it, or set DATA_DIR.`);
  release.push(lock.release);
  return embedded.url;
}

async function migrateWhenReady(url: string, log: Logger): Promise<void> {
  const deadline = Date.now() + databasePatienceMs;
  for (;;) {
    try {
      const applied = await migrate(url);
      if (applied > 0) log.info({ applied }, 'database migrated');
      return;
    } catch (error) {
      if (!isUnavailable(error) || Date.now() > deadline) {
        throw new StartError(`The database cannot be used: ${(error as Error).message}. Check DATABASE_URL.`);
      }
      log.warn('waiting for the database');
      await delay(1_000);
    }
  }
}

async function listen(config: Config, handler: RequestListener): Promise<Server> {
  const limits = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 65_000 };
  const server = config.tls
    ? createHttpsServer(
        { ...limits, cert: readFileSync(config.tls.certFile), key: readFileSync(config.tls.keyFile) },
        handler,
      )
    : createHttpServer(limits, handler);
  server.listen(config.port, config.host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const reason = code === 'EADDRINUSE' ? 'something else is listening there' : code;
    throw new StartError(`Cannot listen on ${config.host}:${config.port}: ${reason}. Set PORT or HOST.`);
  }
  return server;
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

/** Starts and stops the process, and nothing else: configuration, database, application, listening, signals. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type Logger, pino } from 'pino';
import { type App, createApp } from './app.ts';
import { type Config, ConfigError, configWarnings, loadEnvironment, readConfig } from './config.ts';
import { isUnavailable, openDatabase, reasonOf } from './db/database.ts';
import { EmbeddedError, lockServer, startEmbedded } from './db/embedded.ts';
import { DatabaseError, migrateWhenReady } from './db/migrate.ts';
import { tlsCiphers } from './http/tls.ts';
import { DecryptionError } from './keys/encryption.ts';
import { closeServer, stopRequest, undo } from './ops/stop.ts';

/** An operator can mend it; said in one line, without a stack. */
class StartError extends Error {}

const { signal, stopped } = stopRequest();
try {
  loadEnvironment();
  await run(readConfig());
} catch (error) {
  // Ctrl-C in a terminal also reaches the programs that a start runs; their failing is no news then.
  if (!signal.aborted) {
    process.stderr.write(`${explain(error)}\n`);
    process.exitCode = 1;
  }
}
// What was given up half-way, and connections to a database that hangs, would keep the process.
process.exit();

function explain(error: unknown): string {
  const known = [ConfigError, EmbeddedError, DatabaseError, DecryptionError, StartError];
  if (known.some((type) => error instanceof type)) return (error as Error).message;
  if (isUnavailable(error)) return `The database does not answer any more (${reasonOf(error)}).`;
  return `Latchkey stopped: ${error instanceof Error ? error.stack : String(error)}`;
}

async function run(config: Config): Promise<void> {
  const log = pino({ level: config.logLevel, base: null });
  for (const warning of configWarnings()) log.warn(warning);
  const release: (() => Promise<void>)[] = [];
  try {
    const url = config.databaseUrl ?? (await startOwnDatabase(config, log, release));
    const onWait = (reason: string) => log.warn({ reason }, 'waiting for the database');
    const applied = await unlessStopped(migrateWhenReady(url, { onWait }));
    if (applied > 0) log.info({ applied }, 'database migrated');
    const database = openDatabase(url, { onError: (error) => log.warn({ err: error }, 'database connection lost') });
    release.push(database.close);
    const app = await unlessStopped(createApp({ config, database, log }));
    release.push(app.close);
    for (const server of await listenEverywhere(config, app)) release.push(() => closeServer(server));
    announce(config);
    signal.addEventListener('abort', app.drain);
    await stopped;
  } finally {
    if (signal.aborted) log.info(signal.reason.message);
    await undo(release, (err) => {
      log.error({ err }, 'stopping did not go well');
      process.exitCode = 1;
    });
  }
}

/** What is left of the work when the process is asked to stop ends with the process. */
function unlessStopped<T>(work: Promise<T>): Promise<T> {
  return Promise.race([stopped, work]);
}

async function startOwnDatabase(config: Config, log: Logger, release: (() => Promise<void>)[]): Promise<string> {
  const embedded = await startEmbedded({ dataDir: config.dataDir, log, signal });
  release.push(embedded.stop);
  const lock = await unlessStopped(lockServer(embedded.url));
  if (!lock) throw new StartError(`Another Latchkey server is running on ${config.dataDir}. Stop it, or set DATA_DIR.`);
  release.push(lock.release);
  return embedded.url;
}

async function listenEverywhere(config: Config, { handler, mtlsHandler }: App): Promise<Server[]> {
  const limits = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 65_000 };
  const { tls, mtls } = config;
  if (!tls) return [await listen(config, config.port, 'PORT', createHttpServer(limits, handler))];
  const files = { ...limits, ciphers: tlsCiphers, cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) };
  const servers = [await listen(config, config.port, 'PORT', createHttpsServer(files, handler))];
  if (mtls?.port !== undefined) {
    // Who is believed is decided per client: one may sign its certificate itself (RFC 8705 §2.2).
    const asking = createHttpsServer({ ...files, requestCert: true, rejectUnauthorized: false }, mtlsHandler);
    servers.push(await listen(config, mtls.port, 'MTLS_PORT', asking));
  }
  return servers;
}

async function listen({ host }: Config, port: number, variable: string, server: Server): Promise<Server> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const reason = code === 'EADDRINUSE' ? 'something else is listening there' : code;
    throw new StartError(`Cannot listen on ${host}:${port}: ${reason}. Set ${variable} or HOST.`);
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

/** Serves the application in this process: the whole of a small installation, or one of several workers. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Logger } from 'pino';
import { type App, createApp } from './app.ts';
import type { Config } from './config.ts';
import { openDatabase } from './db/database.ts';
import { tlsCiphers } from './http/tls.ts';
import { handshakeTimeout, httpLimits, limitConnections } from './ops/http-limits.ts';
import type { Siblings } from './ops/metrics-workers.ts';
import { StartError } from './ops/start-error.ts';
import { closeServer, endAfterAnswers, type Serving, type StopRequest } from './ops/stop.ts';

type ServeDependencies = {
  config: Config;
  databaseUrl: string;
  log: Logger;
  /** Whether this process does what one process of a server has to do now and then. */
  leads?: boolean;
  /** The other processes, where there are several. */
  siblings?: Siblings;
  stop: Pick<StopRequest, 'unlessStopped'>;
};

/**
 * Opens the database and listens. What has to be undone is pushed on `release` as soon as it is there, also when this
 * throws.
 * @throws {StartError} when it cannot listen
 */
export async function serve(
  { config, databaseUrl, log, leads = true, siblings, stop }: ServeDependencies,
  release: (() => Promise<void>)[],
): Promise<Serving> {
  const database = openDatabase(databaseUrl, {
    max: config.databasePoolSize,
    onError: (error) => log.warn({ err: error }, 'database connection lost'),
  });
  release.push(database.close);
  const app = await stop.unlessStopped(createApp({ config, database, log, leads, ...(siblings && { siblings }) }));
  release.push(app.close);
  const servers = await listenEverywhere(config, app);
  for (const server of servers) release.push(() => closeServer(server));
  return {
    // What goes wrong in this very process ends it.
    failed: new Promise(() => {}),
    drain() {
      app.drain();
      for (const server of servers) endAfterAnswers(server);
    },
  };
}

async function listenEverywhere(config: Config, { handler, mtlsHandler }: App): Promise<Server[]> {
  const { tls, mtls } = config;
  if (!tls) return [await listen(config, config.port, 'PORT', createHttpServer(httpLimits, handler))];
  const files = {
    ...httpLimits,
    handshakeTimeout,
    ciphers: tlsCiphers,
    cert: readFileSync(tls.certFile),
    key: readFileSync(tls.keyFile),
  };
  const servers = [await listen(config, config.port, 'PORT', createHttpsServer(files, handler))];
  if (mtls?.port !== undefined) {
    // Who is believed is decided per client: one may sign its certificate itself (RFC 8705 §2.2).
    const asking = createHttpsServer({ ...files, requestCert: true, rejectUnauthorized: false }, mtlsHandler);
    servers.push(await listen(config, mtls.port, 'MTLS_PORT', asking));
  }
  return servers;
}

async function listen({ host }: Config, port: number, variable: string, server: Server): Promise<Server> {
  limitConnections(server).listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const reason = code === 'EADDRINUSE' ? 'something else is listening there' : code;
    throw new StartError(`Cannot listen on ${host}:${port}: ${reason}. Set ${variable} or HOST.`);
  }
  return server;
}

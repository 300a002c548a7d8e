/** The whole application in this process, listening on loopback over a database of its own. */
import { createServer } from 'node:http';
import { pino } from 'pino';
import { expect, inject, onTestFinished, vi } from 'vitest';
import { type App, createApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { type OpenDatabase, openDatabase } from '../../src/db/database.ts';
import { closeServer } from '../../src/ops/stop.ts';
import { createStartedDatabase, createTestDatabase, type TestDatabase } from './database.ts';
import { listen } from './listen.ts';

export type LogLine = Record<string, unknown> & { level: number; msg: string };

export type StartOptions = {
  env?: Record<string, string>;
  database?: Pick<TestDatabase, 'url'>;
  expectErrors?: boolean;
  /** Its issuer is at a name and not at an address: only there browsers make passkeys. */
  named?: boolean;
  /** It does nothing by itself, now and then; for tests that count statements. */
  idle?: boolean;
};

export type TestApp = {
  origin: string;
  issuer: string;
  /** Where it listens, whatever origin it was told to have. */
  port: number;
  app: App;
  database: OpenDatabase;
  databaseUrl: string;
  env: Record<string, string>;
  /** Everything logged so far. */
  log: LogLine[];
  close(): Promise<void>;
};

export const { secrets: testSecrets } = inject('testServer');

/**
 * Starts the application with the given environment on top of one fit for tests. With `database` it shares one; else
 * it gets and drops its own. Closing fails when the application logged an error that `expectErrors` did not allow.
 */
export async function startApp(options: StartOptions = {}): Promise<TestApp> {
  const ownKeys = options.env?.OIDC_ENCRYPTION_KEY ?? options.env?.JWKS_PRIVATE_KEY;
  const own = options.database ? undefined : await (ownKeys ? createTestDatabase() : createStartedDatabase());
  const databaseUrl = (options.database ?? own)?.url ?? '';
  const server = createServer();
  const port = await listen(server);
  const env = {
    DATABASE_URL: databaseUrl,
    OIDC_ISSUER: `http://${options.named ? 'localhost' : '127.0.0.1'}:${port}`,
    ...testSecrets,
    ...options.env,
  };
  // What passwords cost is looked at where a test sets it; elsewhere it would be a third of the suite's time.
  const config = { ...readConfig(env), ...(options.env?.BCRYPT_ROUNDS === undefined && { bcryptRounds: 4 }) };
  const lines: LogLine[] = [];
  const log = pino({ level: 'debug', base: null }, { write: (line) => void lines.push(JSON.parse(line)) });
  const database = openDatabase(databaseUrl, { max: config.databasePoolSize });
  // Its timers are set now, and never go off.
  if (options.idle) vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const app = await createApp({ config, database, log });
  if (options.idle) vi.useRealTimers();
  server.on('request', app.handler);
  return {
    origin: config.origin,
    issuer: config.issuer,
    port,
    app,
    database,
    databaseUrl,
    env,
    log: lines,
    async close() {
      server.closeIdleConnections();
      await closeServer(server);
      await app.close();
      await database.close();
      await own?.drop();
      if (!options.expectErrors) expect(lines.filter(({ level }) => level >= 50)).toEqual([]);
    },
  };
}

/** An application for one test only. */
export async function startAppForTest(options: Parameters<typeof startApp>[0] = {}): Promise<TestApp> {
  const app = await startApp(options);
  onTestFinished(() => app.close());
  return app;
}

/** One server and a PostgreSQL of the operator's own, under load: restarted, paused, and without a connection left. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PostgresServer, startPostgresServer } from '../support/postgres-server.ts';
import { type ServerProcess, sharedSecrets, startServer, untilReady } from '../support/server.ts';
import { startLoad } from './load.ts';

/**
 * Seconds. A pause of 30 is longer than all that waits: five for a connection, ten for an answer, ten in which a refresh
 * may be asked for again. So is this one, with the last two shortened; the first cannot be.
 */
const [queryTimeout, leeway, pause] = [1, 2, 6];

let postgres: PostgresServer;
let server: ServerProcess;

beforeAll(async () => {
  postgres = await startPostgresServer();
  // The driver takes its own settings from the address too.
  const DATABASE_URL = `${postgres.url}?query_timeout=${queryTimeout * 1000}`;
  const env = { ...sharedSecrets, DATABASE_URL, TRUST_PROXY: 'loopback', REFRESH_TOKEN_LEEWAY: String(leeway) };
  server = await startServer({ env });
});
afterAll(async () => {
  await server.kill9();
  await postgres.remove();
});

test('restarted: "not now" while it is away, and nothing acknowledged is lost', { timeout: 120_000 }, async () => {
  const load = await startLoad(server);
  await load.served(12);
  await postgres.stopFast();
  await load.refused(4);
  await postgres.start();
  await load.served(12);
  await load.stopAndCheck();
  await untilReady(server);
});

test('out of connections: "not now", and service as soon as there are some', { timeout: 120_000 }, async () => {
  const load = await startLoad(server);
  await load.served(12);
  await postgres.query('alter role app connection limit 0');
  await postgres.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'");
  await load.refused(8);
  await postgres.query('alter role app connection limit -1');
  await load.served(12);
  await load.stopAndCheck();
  await untilReady(server);
  expect(server.stdout()).toContain('too many connections for role');
});

test('paused: whoever gave up is served afterwards, with what he had before', { timeout: 120_000 }, async () => {
  const load = await startLoad(server, { people: 6 });
  await load.served(12);
  await postgres.freeze();
  await load.refused(1);
  await delay(pause * 1000);
  await postgres.thaw();
  await load.served(24);
  await load.stopAndCheck();
  await untilReady(server);
});

/** Three instances that start on an empty database in the same moment; one of them is killed under load. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { singleConnection } from '../../src/db/single-connection.ts';
import { createEmptyDatabase, type TestDatabase } from '../support/database.ts';
import { type LoadBalancer, startLoadBalancer } from '../support/load-balancer.ts';
import { freePort, type ServerProcess, sharedSecrets, startServer } from '../support/server.ts';
import { type Load, startLoad } from './load.ts';

let database: TestDatabase;
let balancer: LoadBalancer;
let servers: ServerProcess[];
let load: Load;

beforeAll(async () => {
  database = await createEmptyDatabase();
  const ports = await Promise.all([1, 2, 3].map(freePort));
  balancer = await startLoadBalancer(ports, { probes: true });
  const env = {
    ...sharedSecrets,
    DATABASE_URL: database.url,
    OIDC_ISSUER: balancer.origin,
    TRUST_PROXY: 'loopback',
  };
  servers = await Promise.all(ports.map((port) => startServer({ env, port })));
  await Promise.all(ports.map((port) => balancer.sends(port, true)));
}, 120_000);
afterAll(async () => {
  await Promise.all(servers.map((server) => server.kill9()));
  await balancer.close();
  await database.drop();
});

async function query(statement: string): Promise<Record<string, unknown>[]> {
  const client = singleConnection(database.url, 'latchkey-test');
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}

test('started at once they are all ready: one has migrated, and there is one ring of keys, each made once', async () => {
  const migrated = servers.map((server) => /"applied":(\d+)/.exec(server.stdout())?.[1]).filter(Boolean);
  expect(migrated).toHaveLength(1);
  const sets = await Promise.all(
    servers.map(async ({ port }) => (await fetch(`http://127.0.0.1:${port}/oidc/jwks`)).json()),
  );
  for (const set of sets) expect(set).toEqual(sets[0]);
  const ring = await query('select alg, state, count(*)::int from signing_keys group by 1, 2 having count(*) > 1');
  expect(ring).toEqual([]);
  const made = "select count(*)::int as made, count(distinct details ->> 'kid')::int as keys from audit_events";
  const [{ made: times, keys } = {}] = await query(`${made} where event = 'key.created'`);
  expect(times).toBe(keys);
});

test('kill -9 of one under load: the others go on, and nothing acknowledged is lost', async () => {
  load = await startLoad({ origin: balancer.origin, issuer: `${balancer.origin}/oidc` });
  await load.served(20);
  const [victim] = servers as [ServerProcess];
  await victim.kill9();
  await balancer.sends(victim.port, false);
  await load.served(20);
  await load.stopAndCheck();
});

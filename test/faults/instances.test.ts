/** Three instances that start on an empty database in the same moment; one of them is killed under load. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEmptyDatabase, queryDatabase, type TestDatabase } from '../support/database.ts';
import { type Instances, startInstances } from '../support/instances.ts';
import type { ServerProcess } from '../support/server.ts';
import { type Load, startLoad } from './load.ts';

let database: TestDatabase;
let provider: Instances;
let load: Load;

beforeAll(async () => {
  database = await createEmptyDatabase();
  provider = await startInstances(database, { many: 3, probes: true, env: { TRUST_PROXY: 'loopback' } });
}, 120_000);
afterAll(async () => {
  await provider.stop();
  await database.drop();
});

test('started at once they are all ready: one has migrated, and there is one ring of keys, each made once', async () => {
  const migrated = provider.servers.map((server) => /"applied":(\d+)/.exec(server.stdout())?.[1]).filter(Boolean);
  expect(migrated).toHaveLength(1);
  const sets = await Promise.all(
    provider.servers.map(async ({ port }) => (await fetch(`http://127.0.0.1:${port}/oidc/jwks`)).json()),
  );
  for (const set of sets) expect(set).toEqual(sets[0]);
  const signing = `select alg from signing_keys where state = 'current' order by alg collate "C"`;
  expect(await queryDatabase(database.url, signing)).toEqual([{ alg: 'ES256' }, { alg: 'EdDSA' }, { alg: 'RS256' }]);
  const made = "select count(*)::int as made, count(distinct details ->> 'kid')::int as keys from audit_events";
  const [{ made: times, keys } = {}] = await queryDatabase(database.url, `${made} where event = 'key.created'`);
  expect(times).toBe(keys);
});

test('kill -9 of one under load: the others go on, and nothing acknowledged is lost', {
  timeout: 120_000,
}, async () => {
  load = await startLoad(provider);
  await load.served(20);
  const [victim] = provider.servers as [ServerProcess];
  await victim.kill9();
  await provider.balancer.sends(victim.port, false);
  await load.served(20);
  await load.stopAndCheck();
});

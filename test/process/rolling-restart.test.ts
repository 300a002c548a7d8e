/** Two instances behind a load balancer that watches their readiness are restarted in turn, and nobody notices. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Instances, startInstances } from '../support/instances.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import type { ServerProcess } from '../support/server.ts';

let database: TestDatabase;
let provider: Instances;
let registration: Registration;

beforeAll(async () => {
  database = await createTestDatabase();
  // So that requests can come from many addresses, and no limit is met.
  const env = { STOP_DELAY_SECONDS: '1', TRUST_PROXY: 'loopback' };
  provider = await startInstances(database, { probes: true, env });
  registration = await registerClient(provider, {
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  });
});
afterAll(async () => {
  await provider.stop();
  await database.drop();
});

const pages = ['/', '/auth/login', '/oidc/jwks', '/auth/register'];

/** Somebody who asks for tokens and pages without a pause, until told to stop. Answers what was not answered with 200. */
async function ask(number: number, stop: AbortSignal): Promise<{ asked: number; failed: unknown[] }> {
  const failed: unknown[] = [];
  let asked = 0;
  const basic = Buffer.from(`${registration.client_id}:${registration.client_secret}`).toString('base64');
  for (; !stop.aborted; asked += 1) {
    const from = { 'x-forwarded-for': `10.${number}.${asked >> 8}.${asked & 255}` };
    const path = pages[asked % (pages.length + 1)];
    const request = path
      ? fetch(provider.origin + path, { headers: from })
      : fetch(`${provider.issuer}/token`, {
          method: 'POST',
          headers: { ...from, authorization: `Basic ${basic}` },
          body: new URLSearchParams({ grant_type: 'client_credentials' }),
        });
    const answer = await request.catch((error: Error) => error.cause ?? error);
    if (!(answer instanceof Response)) failed.push(answer);
    else if (answer.status !== 200) failed.push([path ?? 'token', answer.status, await answer.text()]);
    else await answer.arrayBuffer();
  }
  return { asked, failed };
}

test('a rolling restart loses no request', async () => {
  const enough = new AbortController();
  const everybody = [1, 2].map((number) => ask(number, enough.signal));
  const { servers, balancer, start } = provider;
  for (const [index, server] of servers.entries()) {
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    await balancer.sends(server.port, false);
    servers[index] = await start(server.port);
    await balancer.sends(server.port, true);
  }
  enough.abort();
  const asked = await Promise.all(everybody);
  expect(asked.flatMap(({ failed }) => failed)).toEqual([]);
  for (const one of asked) expect(one.asked).toBeGreaterThan(20);
}, 120_000);

test('a server that is asked to stop says so at once, still serves, and lets go of each connection with its answer', async () => {
  const [server] = provider.servers as [ServerProcess];
  const answers = server.ended.then(() => []);
  server.signal('SIGTERM');
  await server.printed('asked to stop');
  const readiness = await fetch(`${server.origin.replace(/\d+$/, String(server.port))}/readyz`);
  expect([readiness.status, readiness.headers.get('connection')]).toEqual([503, 'close']);
  expect(await readiness.json()).toMatchObject({ checks: { server: 'stopping' } });
  const page = await fetch(`http://127.0.0.1:${server.port}/oidc/jwks`);
  expect([page.status, page.headers.get('connection')]).toEqual([200, 'close']);
  await answers;
});

/**
 * The cluster of deploy/ as plain processes: nginx, two instances, PgBouncer in transaction mode, a primary and its
 * synchronous standby. The last test takes the primary away.
 */
import { request as httpRequest } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { tlsCertificate } from '../support/certificate.ts';
import { createPerson, readText } from '../support/person.ts';
import {
  allow,
  discover,
  type Registration,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
  signInThrough,
} from '../support/relying-party.ts';
import { startTopology, type Topology } from '../support/topology.ts';

let cluster: Topology;
let registration: Registration;
let rp: RelyingParty;
let account: Awaited<ReturnType<typeof registerAccount>>;
const trusted = getCACertificates('default');
const offline = { scope: 'openid email offline_access', prompt: 'consent' };

beforeAll(async () => {
  setDefaultCACertificates([...trusted, tlsCertificate()]);
  cluster = await startTopology({ REFRESH_TOKEN_LEEWAY: '60' });
  registration = await registerClient(cluster, { scope: 'openid profile email offline_access' });
  rp = await discover(cluster, registration);
  account = await registerAccount(cluster, { password: 'seven quiet otters' });
}, 180_000);
afterAll(async () => {
  await cluster?.stop();
  setDefaultCACertificates(trusted);
});

/** Asks one instance and no other, as nginx would. */
function ask(instance: number, method: string, path: string, options: { headers?: object; body?: string } = {}) {
  const { port = 0 } = cluster.instances[instance] ?? {};
  const headers = {
    host: new URL(cluster.origin).host,
    'x-forwarded-proto': 'https',
    'x-forwarded-for': '127.0.0.1',
    ...options.headers,
  };
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, method, path, headers }, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      resolve({ status: response.statusCode ?? 0, text });
    });
    request.on('error', reject).end(options.body);
  });
}

test('started at once through PgBouncer, one instance migrates and leaves no lock of a session behind', async () => {
  const migrated = cluster.instances.filter(({ stdout }) => stdout().includes('"applied"'));
  expect(migrated).toHaveLength(1);
  // Locks of transactions come and go; one of a session would stay on PgBouncer's connection.
  await vi.waitFor(
    async () => {
      const locks = await cluster.databases.primary.query("select * from pg_locks where locktype = 'advisory'");
      expect(locks).toEqual([]);
    },
    { timeout: 10_000 },
  );
});

test('a sign-in through nginx goes over both instances, and each knows its sessions and tokens', async () => {
  const person = createPerson(cluster.origin);
  const request = await rp.start(offline);
  const consent = await signIn(person, await person.open(request.url), account);
  const { left } = await allow(person, consent);
  const tokens = await request.finish(left as URL);
  expect(await rp.userinfo(tokens.access_token, account.sub)).toMatchObject({ email: account.email });
  const next = await rp.refresh(tokens.refresh_token as string);
  await signInThrough(cluster, rp, account, { person });

  for (const instance of [0, 1]) {
    const userinfo = await ask(instance, 'GET', '/oidc/userinfo', {
      headers: { authorization: `Bearer ${next.access_token}` },
    });
    expect(userinfo.status).toBe(200);
    const cookie = [...person.jar].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ');
    const page = await ask(instance, 'GET', '/account', { headers: { cookie, accept: 'text/html' } });
    expect(readText(page.text)).toContain(account.email);
  }
  const ports = new Set((await cluster.passedOn()).map(({ port }) => port));
  expect(ports).toEqual(new Set(cluster.instances.map(({ port }) => port)));
});

test('cookies are for https alone, the address is the one nginx saw, and metrics are not for the world', async () => {
  const response = await fetch(`${cluster.origin}/auth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'http' },
    body: JSON.stringify({ email: 'brook@moreno.example', password: 'seven quiet otters', name: 'Brook' }),
  });
  expect(response.status).toBe(201);
  const cookies = response.headers.getSetCookie().filter((cookie) => cookie.includes('session'));
  expect(cookies.length).toBeGreaterThan(0);
  for (const cookie of cookies) expect(cookie).toMatch(/^__Host-.*; secure/);
  const search = (text: string) => cluster.instances.some(({ stdout }) => stdout().includes(text));
  expect(search('203.0.113.9')).toBe(false);
  expect((await fetch(`${cluster.origin}/metrics`)).status).toBe(404);
  expect((await fetch(`${cluster.origin}/readyz`)).status).toBe(200);
});

test('a client registered on one instance is known to the other at once, and deleted on one soon unknown', async () => {
  const answer = await ask(0, 'POST', '/clients', {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_name: 'Heron Post', redirect_uris: [`${cluster.origin}/callback`] }),
  });
  expect(answer.status, answer.text).toBe(201);
  const heron = JSON.parse(answer.text) as Registration & { registration_client_uri: string };
  const redeemOnTheOther = () =>
    ask(1, 'POST', '/oidc/token', {
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        authorization: `Basic ${btoa(`${heron.client_id}:${heron.client_secret}`)}`,
      },
      body: 'grant_type=authorization_code&code=none&redirect_uri=none',
    });
  expect(JSON.parse((await redeemOnTheOther()).text)).toMatchObject({ error: 'invalid_grant' });

  const deleted = await ask(0, 'DELETE', new URL(heron.registration_client_uri).pathname, {
    headers: { authorization: `Bearer ${heron.registration_access_token}` },
  });
  expect(deleted.status).toBe(204);
  await vi.waitFor(
    async () => expect(JSON.parse((await redeemOnTheOther()).text)).toMatchObject({ error: 'invalid_client' }),
    { timeout: 15_000, interval: 100 },
  );
});

test('the primary is killed under load and its standby promoted: nothing acknowledged is lost, service resumes', {
  timeout: 120_000,
}, async () => {
  const { databases } = cluster;
  await vi.waitFor(async () => {
    const [standby] = await databases.primary.query('select sync_state from pg_stat_replication');
    expect(standby).toEqual({ sync_state: 'sync' });
  }, 10_000);
  const signedIn = await Promise.all(
    [0, 1, 2, 3].map(() => signInThrough(cluster, rp, account, { parameters: offline })),
  );

  const accessTokens: string[] = [];
  const failures = new Set<number>();
  let going = true;
  let rounds = 0;
  const chains = signedIn.map(async ({ tokens }) => {
    let refreshToken = tokens.refresh_token as string;
    while (going) {
      const response = await fetch(`${cluster.issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`${registration.client_id}:${registration.client_secret}`)}` },
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken }),
      });
      const body = (await response.json()) as { refresh_token: string; access_token: string };
      if (response.status === 200) {
        accessTokens.push(body.access_token);
        refreshToken = body.refresh_token;
        rounds += 1;
      } else {
        failures.add(response.status);
      }
      await delay(50);
    }
    return refreshToken;
  });
  const enoughMore = async (count: number) => {
    const target = rounds + count;
    await vi.waitFor(() => expect(rounds).toBeGreaterThan(target), { timeout: 40_000, interval: 20 });
  };

  await enoughMore(20);
  await databases.primary.program.kill9();
  await vi.waitFor(() => expect(failures.size).toBeGreaterThan(0), { timeout: 40_000, interval: 20 });
  await databases.standby.query('select pg_promote()');
  await cluster.repointPooler(databases.standby.port);
  await enoughMore(20);
  going = false;
  const refreshTokens = await Promise.all(chains);

  expect([...failures], 'not now, and nothing else').toEqual([503]);
  for (const token of accessTokens) expect(await rp.introspect(token)).toMatchObject({ active: true });
  for (const token of refreshTokens) expect((await rp.refresh(token)).access_token).toBeTruthy();
  for (const { person } of signedIn) await signInThrough(cluster, rp, account, { person });
  await registerAccount(cluster, { password: 'seven quiet otters' });
  expect((await fetch(`${cluster.origin}/readyz`)).status).toBe(200);
  expect(cluster.instances.every((instance) => instance.isAlive())).toBe(true);
});

test('no instance has missed anything of a session: statements prepared, settings, locks', () => {
  for (const { stdout, stderr } of cluster.instances) {
    expect(stdout() + stderr()).not.toMatch(
      /prepared statement|unsupported startup parameter|unrecognized configuration/,
    );
  }
  expect(cluster.pooler.output()).not.toMatch(/prepared statement|unsupported startup parameter|ERROR/);
});

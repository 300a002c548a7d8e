import { randomBytes } from 'node:crypto';
import { ClientSecretPost } from 'openid-client';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { createDatabaseProxy } from '../support/database-proxy.ts';
import { type Scrape, scrape } from '../support/metrics.ts';
import { createPerson } from '../support/person.ts';
import { discover, registerAccount, registerClient, signIn, signInThrough } from '../support/relying-party.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

const soon = <T>(check: () => T) => vi.waitFor(check, { timeout: 15_000, interval: 100 });

test('requests are counted and timed by the pattern of their route, never by their address', async () => {
  const client = await registerClient(app);
  await fetch(`${app.origin}/clients/${client.client_id}?x=1`);
  await fetch(`${app.origin}/auth/interaction/${randomBytes(16).toString('base64url')}`);
  await fetch(`${app.origin}/AUTH/Interaction/nobody`);
  await fetch(`${app.origin}/clients/${client.client_id}`, { method: 'DELETE' });
  await fetch(`${app.origin}/auth/login`, { method: 'PUT' });
  await fetch(`${app.issuer}/jwks`);
  await fetch(`${app.issuer}/nothing/${client.client_id}`);
  const { value, text } = await scrape(app);
  const requests = (route: string, method: string, status: string) =>
    value('latchkey_http_requests_total', { route, method, status });
  expect({
    register: requests('/clients', 'POST', '201'),
    show: requests('/clients/:client_id', 'GET', '200'),
    interaction: requests('/auth/interaction/:uid', 'GET', '400'),
    withoutToken: requests('/clients/:client_id', 'DELETE', '401'),
    wrongMethod: requests('/auth/login', 'PUT', '405'),
    jwks: requests('oidc.jwks', 'GET', '200'),
    unknown: requests('oidc.other', 'GET', '404'),
  }).toEqual({ register: 1, show: 1, interaction: 2, withoutToken: 1, wrongMethod: 1, jwks: 1, unknown: 1 });
  expect(value('latchkey_http_request_duration_seconds_count', { route: '/clients', method: 'POST' })).toBe(1);
  expect(value('latchkey_http_requests_in_flight')).toBe(1);
  expect(text).not.toContain(client.client_id);
});

test('tokens are counted by grant and outcome, sign-ins by method, and a refresh token that came again', async () => {
  const before = await scrape(app);
  const account = await registerAccount(app);
  const rp = await discover(app, await registerClient(app, { scope: 'openid offline_access' }));
  const { tokens } = await signInThrough(app, rp, account, {
    parameters: { scope: 'openid offline_access', prompt: 'consent' },
  });
  const first = tokens.refresh_token ?? '';
  const second = (await rp.refresh(first)).refresh_token ?? '';
  await rp.refresh(second);
  await app.database.pool.query(`update oidc_grants set consumed_at = consumed_at - interval '1 hour'`);
  await expect(rp.refresh(first)).rejects.toThrow();
  const stranger = await discover(app, { client_id: 'nobody', registration_access_token: '' }, ClientSecretPost('x'));
  await expect(stranger.refresh('x')).rejects.toThrow();
  const person = createPerson(app.origin);
  await signIn(person, await person.open((await rp.start({ scope: 'openid' })).url), {
    email: account.email,
    password: 'wrong',
  });

  await soon(async () => {
    const now = await scrape(app);
    const more = (name: string, labels: Record<string, string>) =>
      (now.value(name, labels) ?? 0) - (before.value(name, labels) ?? 0);
    const requests = (grant: string, outcome: string) => more('latchkey_token_requests_total', { grant, outcome });
    const logins = (method: string, outcome: string) => more('latchkey_logins_total', { method, outcome });
    expect({
      code: requests('authorization_code', 'success'),
      refreshed: requests('refresh_token', 'success'),
      refused: requests('refresh_token', 'invalid_grant'),
      stranger: requests('refresh_token', 'invalid_client'),
      signedIn: logins('password', 'succeeded'),
      wrong: logins('password', 'failed'),
      reused: more('latchkey_events_total', { event: 'refresh-token.reused', outcome: 'failure' }),
      // Who registers is signed in, and then signs in at the library's asking.
    }).toEqual({ code: 1, refreshed: 2, refused: 1, stranger: 1, signedIn: 2, wrong: 1, reused: 1 });
  });
});

test('the process, its pool and what the database says of itself are told', async () => {
  const { value } = await scrape(app);
  const positive = expect.toSatisfy((number: number) => number > 0);
  expect({
    memory: value('process_resident_memory_bytes'),
    worstDelay: value('latchkey_event_loop_delay_seconds', { percentile: '100' }),
    most: value('latchkey_database_pool_max'),
    waiting: value('latchkey_database_pool_waiting'),
    uses: value('latchkey_database_uses_total'),
    up: value('latchkey_database_up'),
    rows: value('latchkey_table_rows', { table: 'users' }),
    bytes: value('latchkey_table_bytes', { table: 'oidc_clients' }),
    keys: value('latchkey_signing_keys', { alg: 'ES256', state: 'current' }),
    age: value('latchkey_signing_key_age_seconds', { alg: 'ES256', state: 'current' }),
    mails: value('latchkey_queue_oldest_seconds', { queue: 'mail' }),
    logouts: value('latchkey_queue_waiting', { queue: 'logout' }),
    chain: value('latchkey_audit_chain_lag_seconds'),
    sweep: value('latchkey_sweep_lag_seconds'),
    processes: value('latchkey_workers'),
  }).toEqual({
    memory: positive,
    worstDelay: expect.any(Number),
    most: 10,
    waiting: 0,
    uses: positive,
    up: 1,
    rows: expect.any(Number),
    bytes: positive,
    keys: 1,
    age: expect.any(Number),
    mails: expect.any(Number),
    logouts: 0,
    chain: expect.any(Number),
    sweep: 0,
    processes: 1,
  });
});

test('whatever strangers send, there are no more series', async () => {
  const token = 'of-prometheus';
  const bearer = { authorization: `Bearer ${token}` };
  const own = await startAppForTest({ env: { TRUST_PROXY: 'loopback', METRICS_TOKEN: token } });
  await scrape(own, bearer);
  await sendAnything(own, 50);
  const before = await scrape(own, bearer);
  await sendAnything(own, 500);
  const after = await scrape(own, bearer);
  const ours = ({ series }: Scrape) => series.filter((name) => name.startsWith('latchkey_'));
  expect(ours(after).filter((series) => !before.series.includes(series))).toEqual([]);
  expect(ours(after).length).toBeLessThan(1500);
}, 60_000);

/** Addresses, clients, grants, methods and headers that nobody thought of, each from somebody else. */
async function sendAnything({ origin, issuer }: TestApp, count: number): Promise<void> {
  const any = () => randomBytes(9).toString('base64url');
  const send = async (url: string, init: RequestInit = {}) => {
    const headers = { accept: 'application/json', 'x-forwarded-for': randomIp(), traceparent: any() };
    await (await fetch(url, { headers, ...init })).arrayBuffer();
  };
  const askForToken = (body: Record<string, string>) =>
    send(`${issuer}/token`, { method: 'POST', body: new URLSearchParams(body) });
  for (let sent = 0; sent < count; sent += 12) {
    await Promise.all([
      send(`${origin}/${any()}`),
      send(`${origin}/${any()}/${any()}?${any()}`),
      send(`${origin}/clients/${any()}`),
      send(`${origin}/cLiEnTs/${any()}/secret`, { method: 'POST' }),
      send(`${issuer}/reg/${any()}`),
      send(`${origin}/auth/interaction/${any()}`),
      send(`${origin}/assets/${any()}`),
      send(`${issuer}/${any()}`, { method: 'PROPFIND' }),
      send(`${issuer}/auth?client_id=${any()}`),
      askForToken({ grant_type: any(), client_id: any() }),
      askForToken({ grant_type: 'authorization_code', client_id: any(), code: any() }),
      askForToken({ [any()]: any() }),
    ]);
  }
}

const randomIp = () => `192.0.${randomBytes(1)[0]}.${randomBytes(1)[0]}`;

test('a database that hangs keeps nobody from the metrics of the process', async () => {
  const proxy = await createDatabaseProxy(app.databaseUrl);
  await proxy.open();
  const own = await startApp({ database: { url: proxy.url } });
  try {
    proxy.hang();
    const { value } = await scrape(own);
    expect([value('latchkey_database_up'), value('latchkey_table_rows', { table: 'users' })]).toEqual([0, undefined]);
    expect(value('latchkey_workers')).toBe(1);
  } finally {
    proxy.cut();
    await own.close();
    await proxy.close();
  }
});

test('two applications in one process count each for itself', async () => {
  const other = await startAppForTest({ database: { url: app.databaseUrl } });
  await fetch(`${other.origin}/livez`);
  const labels = { route: '/livez', method: 'GET', status: '200' };
  expect((await scrape(other)).value('latchkey_http_requests_total', labels)).toBe(1);
  expect((await scrape(app)).value('latchkey_http_requests_total', labels)).toBe(undefined);
});

test('a mail that waits and an event that is not chained have their age', async () => {
  const own = await startAppForTest({ idle: true });
  await own.database.pool.query(`insert into mails (id, template, message_encrypted, next_attempt_at, created_at)
    values ('m', 'x', 'x', now(), now() - interval '1 hour')`);
  await own.database.pool.query(
    `insert into audit_events (event, at) values ('login.failed', now() - interval '1 hour')`,
  );
  const { value } = await scrape(own);
  expect(value('latchkey_queue_waiting', { queue: 'mail' })).toBe(1);
  expect(value('latchkey_queue_oldest_seconds', { queue: 'mail' })).toBeGreaterThanOrEqual(3600);
  expect(value('latchkey_audit_chain_lag_seconds')).toBeGreaterThanOrEqual(3600);
});

test('however often it is scraped, the database is asked once in ten seconds', async () => {
  const own = await startAppForTest({ idle: true });
  let uses = 0;
  own.database.pool.on('acquire', () => {
    uses += 1;
  });
  await scrape(own);
  const once = uses;
  await Promise.all(Array.from({ length: 20 }, () => scrape(own)));
  expect(uses).toBe(once);
});

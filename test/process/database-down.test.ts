/** The database goes away while the server runs, in each way that it can: what is answered, and how it comes back. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createDatabaseProxy, type DatabaseProxy } from '../support/database-proxy.ts';
import { createPerson, type Person, readText } from '../support/person.ts';
import {
  discover,
  password,
  type Registration,
  type RelyingParty,
  registerAccount,
  registerClient,
  signInThrough,
} from '../support/relying-party.ts';
import { launchServer, type ServerProcess, sharedSecrets, untilReady } from '../support/server.ts';

let database: TestDatabase;
let proxy: DatabaseProxy;
let server: ServerProcess;
let rp: RelyingParty;
let registration: Registration;
let account: Awaited<ReturnType<typeof registerAccount>>;
let person: Person;
let accessToken: string;
let refreshToken: string;

beforeAll(async () => {
  database = await createTestDatabase();
  proxy = await createDatabaseProxy(database.url);
  // The driver takes its own settings from the address too: a second spares this file half a minute.
  const DATABASE_URL = `${proxy.url}?query_timeout=1000`;
  server = await launchServer({ env: { ...sharedSecrets, DATABASE_URL, REFRESH_TOKEN_LEEWAY: '3600' } });
  await server.printed('waiting for the database');
  await proxy.open();
  await server.printed('Latchkey is ready.');
  registration = await registerClient(server);
  rp = await discover(server, registration);
  account = await registerAccount(server);
  const parameters = { scope: 'openid email offline_access', prompt: 'consent' };
  const signedIn = await signInThrough(server, rp, account, { parameters });
  person = signedIn.person;
  accessToken = signedIn.tokens.access_token;
  refreshToken = signedIn.tokens.refresh_token ?? '';
});
afterAll(async () => {
  await server.kill9();
  await proxy.close();
  await database.drop();
});

/** What people and programs send, each of which needs the database. */
function requests(): Record<string, () => Promise<Response>> {
  const json = (body: object) => ({
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', accept: 'application/json' },
  });
  const form = (body: Record<string, string>) => ({
    method: 'POST',
    body: new URLSearchParams(body),
    headers: { origin: server.origin, 'sec-fetch-site': 'same-origin' },
  });
  const client = { client_id: registration.client_id, client_secret: registration.client_secret ?? '' };
  const authorize = new URLSearchParams({
    client_id: client.client_id,
    response_type: 'code',
    redirect_uri: `${server.origin}/callback`,
    scope: 'openid',
  });
  const bearer = { headers: { authorization: `Bearer ${accessToken}` } };
  const credentials = { email: account.email, password };
  const basic = Buffer.from(`${client.client_id}:${client.client_secret}`).toString('base64');
  return {
    'GET /': () => person.request('/'),
    'GET /account': () => person.request('/account'),
    'GET /auth/login': () => person.request('/auth/login'),
    'POST /auth/login, a form': () => createPerson(server.origin).request('/auth/login', form(credentials)),
    'POST /auth/login, JSON': () => fetch(`${server.origin}/auth/login`, json(credentials)),
    'POST /auth/register': () => fetch(`${server.origin}/auth/register`, json({ ...credentials, name: 'Ada Moreno' })),
    'POST /clients': () => fetch(`${server.origin}/clients`, json({ redirect_uris: [`${server.origin}/callback`] })),
    'GET /clients/:client_id': () => fetch(`${server.origin}/clients/${client.client_id}`),
    'GET /oidc/auth': () => person.request(`/oidc/auth?${authorize}`),
    'POST /oidc/token': () =>
      fetch(`${server.issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${basic}` },
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken }),
      }),
    'GET /oidc/userinfo': () => fetch(`${server.issuer}/userinfo`, bearer),
    'POST /oidc/introspection': () =>
      fetch(`${server.issuer}/introspection`, {
        method: 'POST',
        headers: { authorization: `Basic ${basic}` },
        body: new URLSearchParams({ token: accessToken }),
      }),
    'GET /oidc/session/end': () => person.request('/oidc/session/end'),
  };
}

/** Asks everything at once: each answer says "not now" in its own way, and what needs no database goes on. */
async function expectUnavailable(): Promise<void> {
  const statuses = Promise.all(independent.map(statusOf));
  // What it knows is up to a second old.
  const red = vi.waitFor(async () => expect(await statusOf('/readyz')).toBe(503), { timeout: 10_000, interval: 50 });
  await Promise.all(
    Object.entries(requests()).map(async ([name, send]) => {
      const response = await send();
      const body = await response.text();
      expect([response.status, response.headers.get('retry-after')], `${name}: ${body}`).toEqual([503, '5']);
      if (response.headers.get('content-type')?.includes('html')) {
        expect(readText(body), name).toContain('Nothing was lost. Wait a moment, then try again.');
      } else {
        expect(JSON.parse(body), name).toEqual({
          error: 'temporarily_unavailable',
          error_description: 'The service cannot answer right now. Try again in a moment.',
        });
      }
    }),
  );
  expect(await statuses).toEqual(independent.map(() => 200));
  await red;
}

const independent = ['/livez', '/oidc/.well-known/openid-configuration', '/oidc/jwks'];

async function statusOf(path: string): Promise<number> {
  const response = await fetch(server.origin + path);
  await response.body?.cancel();
  return response.status;
}

/** Nobody does anything: the next requests are served, with all that was stored before. */
async function expectRecovered(): Promise<void> {
  await untilReady(server);
  await Promise.all(
    Object.entries(requests()).map(async ([name, send]) => {
      const response = await send();
      const expected = name === 'POST /auth/register' ? [409] : [200, 201, 303];
      expect(expected, `${name}: ${await response.text()}`).toContain(response.status);
    }),
  );
}

test('a server started before its database waits for it', () => {
  expect(server.stdout()).toContain('waiting for the database');
});

test('down: everything that needs it answers 503, then all is as before', async () => {
  await proxy.refuse();
  await expectUnavailable();
  await proxy.open();
  await expectRecovered();
});

test('silent: 503 when patience ends, and connections that stay silent for ever are not missed', async () => {
  proxy.hang();
  await expectUnavailable();
  await proxy.open();
  await expectRecovered();
});

test('connections cut while nobody uses them are not noticed by anybody', async () => {
  await expectRecovered();
  proxy.cut();
  await vi.waitFor(() => expect(server.stdout()).toContain('database connection lost'), { timeout: 10_000 });
  await expectRecovered();
});

test('what was acknowledged in the middle of it is there afterwards', async () => {
  const register = async (number: number) => {
    const email = `ada${number}@moreno.example`;
    const body = JSON.stringify({ email, password, name: 'Ada Moreno' });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${server.origin}/auth/register`, { method: 'POST', body, headers });
    await response.body?.cancel();
    if (number === 4) await proxy.refuse();
    return { email, status: response.status };
  };
  const answers = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(register));
  await proxy.open();
  await expectRecovered();
  const acknowledged = answers.filter(({ status }) => status === 201);
  expect(acknowledged.length).toBeGreaterThan(0);
  expect(answers.filter(({ status }) => status !== 201 && status !== 503)).toEqual([]);
  for (const { email } of acknowledged) {
    const body = JSON.stringify({ email, password });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${server.origin}/auth/login`, { method: 'POST', body, headers });
    expect(await response.json()).toMatchObject({ email });
  }
});

test('the process has lived through all of this without a word on stderr, and a silent database does not keep it', async () => {
  expect(server.isAlive()).toBe(true);
  proxy.hang();
  const askedAt = performance.now();
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(performance.now() - askedAt).toBeLessThan(5_000);
  expect(server.stderr()).toBe('');
});

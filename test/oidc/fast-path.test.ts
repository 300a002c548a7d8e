/** What is answered without Express is answered no other way. */
import { createServer, request, type Server } from 'node:http';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type FastPathDependencies, fastPath } from '../../src/oidc/fast-path.ts';
import { endpointLimits } from '../../src/oidc/mount.routes.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { endServer, listen } from '../support/listen.ts';
import { readScrape } from '../support/metrics.ts';
import { registerClient } from '../support/relying-party.ts';

let app: TestApp;
let express: Server;
/** The same application, all through Express: what comes where clients show certificates. */
let expressOrigin: string;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: 'loopback' } });
  express = createServer(app.app.mtlsHandler);
  expressOrigin = `http://127.0.0.1:${await listen(express)}`;
});
afterAll(async () => {
  await endServer(express);
  await app.close();
});

/** Addresses are matched there in any case. */
const throughExpress = (path: string) => path.replace('/oidc/', '/OIDC/');
const post = (body: string, headers = {}) => ({
  method: 'POST',
  body,
  headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
});

/** fetch always tells the host of the address. */
function ask(port: number, host: string): Promise<[number | undefined, unknown]> {
  return new Promise((resolve, reject) => {
    request({ port, host: '127.0.0.1', path: '/oidc/jwks', headers: { host } }, (response) => {
      json(response).then((body) => resolve([response.statusCode, (body as { error: unknown }).error]), reject);
    })
      .on('error', reject)
      .end();
  });
}

/** What is not of this one moment. */
async function told(url: string, init: RequestInit = {}) {
  const response = await fetch(url, { redirect: 'manual', ...init });
  // Weak: of a page with the request's own number on it.
  const headers = Object.fromEntries([...response.headers].filter(([, value]) => !value.startsWith('W/')));
  const own = { 'x-request-id': /^req_\w{10}$/.test(headers['x-request-id'] ?? ''), date: '', 'set-cookie': '' };
  const text = (await response.text()).replace(/req_\w{10}/g, '').replace(/<time.*?<\/time>/gs, '');
  return { status: response.status, headers: { ...headers, ...own }, text };
}

describe.each([
  ['/oidc/jwks'],
  ['/oidc/jwks?x=y'],
  ['/oidc/.well-known/openid-configuration'],
  ['/oidc/jwks', { headers: { 'if-none-match': '*' } }],
  ['/oidc/jwks', { headers: { origin: 'https://spa.example' } }],
  ['/oidc/jwks', { headers: { 'x-forwarded-host': 'other.example' } }],
  ['/oidc/jwks?%ff'],
  ['/oidc/auth'],
  ['/oidc/auth?%ff', { headers: { accept: 'text/html' } }],
  ['/oidc/auth?client_id=nobody', { headers: { accept: 'text/html' } }],
  ['/oidc/userinfo'],
  ['/oidc/userinfo', post('access_token=nothing')],
  ['/oidc/token'],
  ['/oidc/token', post('grant_type=client_credentials')],
  ['/oidc/token', post('x'.repeat(200_000))],
  ['/oidc/introspection', post('token=x&client_id=nobody')],
  ['/oidc/revocation', post('token=x&client_id=nobody')],
] as [string, RequestInit?][])('%s', (path, init) => {
  test(`${init ? `with ${JSON.stringify(init).slice(0, 60)} ` : ''}is answered as by Express`, async () => {
    // The first answer is kept, and the second is what was kept.
    await told(app.origin + path, init);
    expect(await told(app.origin + path, init)).toEqual(await told(expressOrigin + path, init));
  });
});

test('whoever fails to authenticate is refused both ways, the tries of both counted together', async () => {
  const { origin } = await startAppForTest();
  const bad = post('grant_type=client_credentials', { authorization: `Basic ${btoa('nobody:wrong')}` });
  for (let tries = 0; tries < 30; tries += 1) {
    for (const path of ['/oidc/token', throughExpress('/oidc/introspection')]) {
      expect((await fetch(origin + path, bad)).status).toBe(401);
    }
  }
  for (const path of ['/oidc/token', '/OIDC/token', '/oidc/introspection', '/oidc/revocation', '/OIDC/revocation']) {
    const response = await fetch(origin + path, bad);
    expect([path, response.status]).toEqual([path, 429]);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.json()).toMatchObject({ error: 'too_many_requests' });
  }
});

test('limits count the caller that a trusted proxy names, and nobody’s own word', async () => {
  const trusting = await startAppForTest({ env: { TRUST_PROXY: 'loopback' } });
  const believing = await startAppForTest();
  const tries = async ({ origin }: TestApp) => {
    const statuses = new Set<number>();
    for (let caller = 1; caller <= 61; caller += 1) {
      const headers = { authorization: `Basic ${btoa('nobody:wrong')}`, 'x-forwarded-for': `192.0.2.${caller}` };
      statuses.add((await fetch(`${origin}/oidc/revocation`, post('token=x', headers))).status);
    }
    return [...statuses];
  };
  expect(await tries(trusting)).toEqual([401]);
  expect(await tries(believing)).toEqual([401, 429]);
});

test('what another spelling of the address was told is not told to others', async () => {
  const fresh = await startAppForTest();
  const discovery = '/oidc/.well-known/openid-configuration';
  for (const path of [throughExpress(discovery), `${discovery}?x=y`, discovery, discovery]) {
    const { jwks_uri: address } = (await (await fetch(fresh.origin + path)).json()) as { jwks_uri: string };
    expect([path, address]).toEqual([
      path,
      `${fresh.origin}${path === throughExpress(discovery) ? '/OIDC' : '/oidc'}/jwks`,
    ]);
  }
});

test('a fault in front of the library, or in it, is an answer and not the end of the process', async () => {
  const faulty = (fault: Partial<FastPathDependencies>) =>
    fastPath(
      {
        origin: 'http://op.example',
        steps: [],
        limits: endpointLimits(),
        isProxy: () => false,
        ...fault,
        provider: { publicMetadata: () => undefined, callback: () => Promise.reject(new Error('a bug')) },
      },
      () => {},
    );
  const throwing = () => {
    throw new Error('a bug');
  };
  for (const listener of [faulty({}), faulty({ steps: [throwing] })]) {
    const server = createServer(listener);
    const port = await listen(server);
    onTestFinished(() => endServer(server));
    const answer = await ask(port, 'op.example');
    expect(answer).toEqual([500, 'server_error']);
  }
});

test('each request is logged and counted once, by the name of its route', async () => {
  const fresh = await startAppForTest();
  const { client_id: id, client_secret: secret } = await registerClient(fresh, {
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  });
  const asked = post('grant_type=client_credentials', { authorization: `Basic ${btoa(`${id}:${secret}`)}` });
  expect((await fetch(`${fresh.origin}/oidc/token`, asked)).status).toBe(200);
  for (let time = 0; time < 3; time += 1) await fetch(`${fresh.origin}/oidc/jwks`);

  const logged = fresh.log.filter(({ path }) => String(path).startsWith('/oidc/'));
  expect(logged.map(({ method, path, status }) => [method, path, status])).toEqual([
    ['POST', '/oidc/token', 200],
    ...Array(3).fill(['GET', '/oidc/jwks', 200]),
  ]);
  const metrics = readScrape(await (await fetch(`${fresh.origin}/metrics`)).text());
  const count = (route: string, method: string) =>
    metrics.value('latchkey_http_requests_total', { route, method, status: '200' });
  expect([count('oidc.token', 'POST'), count('oidc.jwks', 'GET')]).toEqual([1, 3]);
});

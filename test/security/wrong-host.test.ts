/** Requests under another name than the issuer's: nothing ever follows that name, and nobody goes round in circles. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { registerAccount } from '../support/relying-party.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

type Answer = { status: number; headers: IncomingHttpHeaders; body: string };

/** `fetch` decides the Host header itself; this does not. */
function send(method: string, path: string, headers: Record<string, string>, body = ''): Promise<Answer> {
  const { hostname, port } = new URL(app.origin);
  return new Promise((resolve, reject) => {
    const options = { hostname, port, method, path, headers: { ...headers, 'content-length': String(body.length) } };
    const request = httpRequest(options, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
    });
    request.on('error', reject).end(body);
  });
}

const browser = { accept: 'text/html,*/*;q=0.8' };

test('a browser is sent to the issuer’s own origin, with all of its address', async () => {
  for (const path of [
    '/',
    '/auth/login?return_to=%2Faccount',
    '/oidc/auth?client_id=x&state=%22',
    '/\\evil.example',
    '/@evil.example',
  ]) {
    const { status, headers } = await send('GET', path, { ...browser, host: `localhost:${new URL(app.origin).port}` });
    expect(status).toBe(302);
    const target = new URL(headers.location ?? '');
    expect(target.origin).toBe(app.origin);
    expect(target.href).toBe(new URL(app.origin + path).href);
  }
});

test('a few times at most: behind a proxy that rewrites the name it is served, and the operator is told', async () => {
  const host = 'inside.cluster.local';
  let answer = await send('GET', '/auth/login', { ...browser, host });
  for (let redirects = 1; redirects <= 5; redirects += 1) {
    expect(answer.status).toBe(302);
    const [marker = ''] = answer.headers['set-cookie'] ?? [];
    expect(marker).toBe(`latchkey_host=${redirects}; Path=/; Max-Age=5; HttpOnly; SameSite=Lax`);
    answer = await send('GET', '/auth/login', { ...browser, host, cookie: marker.split(';')[0] ?? '' });
  }
  expect(answer.status).toBe(200);
  expect(answer.body).not.toContain(host);
  const warnings = app.log.filter(({ level, msg }) => level === 40 && msg.includes(host));
  expect(warnings).toHaveLength(1);
});

test('what a program asks, and what is posted, is answered in place', async () => {
  const host = 'inside.cluster.local';
  const ada = await registerAccount(app);
  const form = 'application/x-www-form-urlencoded';
  const answers = {
    discovery: await send('GET', '/oidc/.well-known/openid-configuration', { host, accept: '*/*' }),
    alive: await send('GET', '/livez', { host }),
    login: await send(
      'POST',
      '/auth/login',
      { host, 'content-type': form, ...browser },
      new URLSearchParams({ ...ada }).toString(),
    ),
    token: await send('POST', '/oidc/token', { host, 'content-type': form }, 'grant_type=x'),
  };
  expect(answers.discovery.status).toBe(200);
  expect(answers.alive.status).toBe(200);
  expect([answers.login.status, answers.login.headers.location]).toEqual([303, '/account']);
  expect(answers.token.status).toBe(400);
});

test('no answer follows a Host or X-Forwarded-Host that somebody made up', async () => {
  const evil = 'evil.example';
  const forged = { 'x-forwarded-host': evil, 'x-forwarded-proto': 'gopher', forwarded: `host=${evil}` };
  for (const host of [evil, `${evil}@${new URL(app.origin).host}`, `${new URL(app.origin).host}.${evil}`]) {
    for (const path of [
      '/oidc/.well-known/openid-configuration',
      '/oidc/session/end',
      '/auth/login',
      '/',
      '/oidc/auth',
    ]) {
      const { headers, body } = await send('GET', path, { ...browser, ...forged, host, cookie: 'latchkey_host=5' });
      expect(JSON.stringify(headers) + body).not.toContain(evil);
    }
  }
  const metadata = await send('GET', '/oidc/.well-known/openid-configuration', { ...forged, host: evil });
  for (const [name, value] of Object.entries(JSON.parse(metadata.body) as object)) {
    if (typeof value === 'string' && value.startsWith('http'))
      expect([name, value.startsWith(app.origin)]).toEqual([name, true]);
  }
});

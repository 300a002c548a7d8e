/** Scripts of other origins: who may read an answer, and that no cookie ever helps them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson } from '../support/person.ts';
import { type Registration, registerAccount, registerClient, signIn } from '../support/relying-party.ts';

const listed = 'https://console.example';
const ofClient = 'https://spa.example';
const foreign = 'https://evil.example';

let app: TestApp;
let spa: Registration;
let confidential: Registration;

beforeAll(async () => {
  app = await startApp({ env: { ALLOWED_ORIGINS: listed } });
  spa = await registerClient(app, { token_endpoint_auth_method: 'none', redirect_uris: [`${ofClient}/cb`] });
  confidential = await registerClient(app, { redirect_uris: [`${ofClient}/cb`] });
});
afterAll(() => app.close());

async function allowedFor(origin: string, path: string, init: RequestInit = {}): Promise<string | null> {
  const response = await fetch(app.origin + path, {
    redirect: 'manual',
    ...init,
    headers: { ...init.headers, origin },
  });
  expect(response.headers.get('access-control-allow-credentials')).toBeNull();
  return response.headers.get('access-control-allow-origin');
}

describe('the token endpoint', () => {
  const redeem = ({ client_id, client_secret = '' }: Registration) => ({
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code: 'x',
      client_id,
      ...(client_secret && { client_secret }),
    }),
  });

  test('can be read by a public client’s own origins, and by the operator’s list', async () => {
    expect(await allowedFor(ofClient, '/oidc/token', redeem(spa))).toBe(ofClient);
    expect(await allowedFor(listed, '/oidc/token', redeem(spa))).toBe(listed);
    expect(await allowedFor(foreign, '/oidc/token', redeem(spa))).toBeNull();
    expect(await allowedFor('null', '/oidc/token', redeem(spa))).toBeNull();
    expect(await allowedFor(`${ofClient}.evil.example`, '/oidc/token', redeem(spa))).toBeNull();
  });

  test('cannot be read in a browser for a client that has a secret to keep', async () => {
    expect(await allowedFor(ofClient, '/oidc/token', redeem(confidential))).toBeNull();
  });
});

test('public facts can be read by anyone', async () => {
  const discovery = '/oidc/.well-known/openid-configuration';
  const asked = { 'access-control-request-method': 'GET', 'access-control-request-headers': 'mcp-protocol-version' };
  for (const path of [discovery, '/.well-known/oauth-authorization-server/oidc', '/oidc/jwks']) {
    expect(['*', foreign]).toContain(await allowedFor(foreign, path));
    expect(['*', foreign]).toContain(await allowedFor(foreign, path, { method: 'OPTIONS', headers: asked }));
  }
});

test('registration can be read by the operator’s list alone', async () => {
  const asked = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' };
  const preflight = { method: 'OPTIONS', headers: asked };
  for (const origin of [foreign, ofClient, 'null']) {
    expect(await allowedFor(origin, '/clients', preflight)).toBeNull();
    expect(await allowedFor(origin, `/clients/${spa.client_id}`)).toBeNull();
  }
  expect(await allowedFor(listed, '/clients', preflight)).toBe(listed);
  expect(await allowedFor(listed, `/clients/${spa.client_id}`)).toBe(listed);
});

test('nothing that a cookie opens can be read by any other origin, the listed ones included', async () => {
  const person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), await registerAccount(app));
  const cookie = [...person.jar].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ');
  const json = { method: 'POST', headers: { cookie, 'content-type': 'application/json' }, body: '{}' };
  for (const origin of [listed, ofClient, foreign]) {
    for (const path of ['/', '/account', '/account/profile', '/auth/login', '/oidc/auth', '/oidc/session/end']) {
      expect([path, await allowedFor(origin, path, { headers: { cookie } })]).toEqual([path, null]);
    }
    for (const path of ['/auth/login', '/auth/register', '/auth/logout', '/account/profile']) {
      expect([path, await allowedFor(origin, path, json)]).toEqual([path, null]);
      const headers = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' };
      expect([path, await allowedFor(origin, path, { method: 'OPTIONS', headers })]).toEqual([path, null]);
    }
  }
  expect((await person.request('/account')).status).toBe(200);
});

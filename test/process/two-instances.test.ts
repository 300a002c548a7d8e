/** Two servers on one database are one provider. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { enterCode, pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { type Instances, startInstances } from '../support/instances.ts';
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
import type { ServerProcess } from '../support/server.ts';

let database: TestDatabase;
let provider: Instances;
let registration: Registration;
let rp: RelyingParty;
let account: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  database = await createTestDatabase();
  provider = await startInstances(database, { env: { REFRESH_TOKEN_LEEWAY: '0' } });
  registration = await registerClient(provider, { token_endpoint_auth_method: 'client_secret_post' });
  rp = await discover(provider, registration);
  account = await registerAccount(provider);
});
afterAll(async () => {
  await provider.stop();
  await database.drop();
});

async function eightTokenRequests(parameters: Record<string, string>) {
  const { client_id, client_secret = '' } = registration;
  const answers = Array.from({ length: 8 }, async () => {
    const body = new URLSearchParams({ ...parameters, client_id, client_secret });
    const response = await fetch(`${provider.issuer}/token`, { method: 'POST', body });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  });
  const settled = await Promise.all(answers);
  return {
    won: settled.filter(({ status }) => status === 200),
    lost: settled.filter(({ status, body }) => status === 400 && body.error === 'invalid_grant'),
  };
}

test('a flow whose every other step is another server’s ends in tokens', async () => {
  const before = provider.servers.map((server) => requestCount(server));
  const { person, tokens } = await signInThrough(provider, rp, account, {
    parameters: { scope: 'openid email offline_access', prompt: 'consent' },
  });
  expect(tokens.claims()?.sub).toBe(account.sub);
  for (let round = 0; round < 2; round += 1) {
    expect(await rp.userinfo(tokens.access_token, account.sub)).toMatchObject({ email: account.email });
    expect(readText((await person.open('/account')).html), 'signed in at both').toContain(account.email);
  }
  for (const [index, server] of provider.servers.entries())
    expect(requestCount(server)).toBeGreaterThan((before[index] ?? 0) + 3);
});

function requestCount(server: ServerProcess): number {
  return server.stdout().split('"msg":"request"').length - 1;
}

test('signing out at one signs out at both (SECURITY 33)', async () => {
  const person = createPerson(provider.origin);
  await signInThrough(provider, rp, account, { person });
  const cookie = [...person.jar].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ');
  const accountPages = () =>
    Promise.all(
      [1, 2].map(
        async () => (await fetch(`${provider.origin}/account`, { headers: { cookie }, redirect: 'manual' })).status,
      ),
    );
  expect(await accountPages()).toEqual([200, 200]);
  const signOut = {
    method: 'POST',
    headers: { origin: provider.origin, 'content-type': 'application/json' },
    body: '{}',
  };
  expect((await person.request('/auth/logout', signOut)).status).toBe(204);
  expect(await accountPages(), 'with the cookie of before').toEqual([303, 303]);
});

test('eight redemptions of one code at once, over both: one wins (SECURITY 12)', async () => {
  for (let round = 0; round < 3; round += 1) {
    const { request, callback } = await untilCode();
    const { won, lost } = await eightTokenRequests({
      grant_type: 'authorization_code',
      code: callback.searchParams.get('code') ?? '',
      redirect_uri: `${provider.origin}/callback`,
      code_verifier: request.verifier,
    });
    expect([won.length, lost.length]).toEqual([1, 7]);
  }
});

/** An authorization response that nobody has redeemed yet. */
async function untilCode() {
  const person = createPerson(provider.origin);
  const request = await rp.start();
  let page = await signIn(person, await person.open(request.url), account);
  if (!page.left) page = await allow(person, page);
  return { request, callback: page.left as URL };
}

test('eight refreshes with one token at once, over both: one wins (SECURITY 18)', async () => {
  for (let round = 0; round < 3; round += 1) {
    const { tokens } = await signInThrough(provider, rp, account, {
      parameters: { scope: 'openid offline_access', prompt: 'consent' },
    });
    const { won, lost } = await eightTokenRequests({
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token ?? '',
    });
    expect([won.length, lost.length]).toEqual([1, 7]);
  }
});

test('a device is allowed at one while it polls at both, and of eight polls at once one wins', async () => {
  const tv = await registerDevice(provider);
  const device = await startDevice(provider, tv);
  expect((await pollOnce(provider, tv, device)).error).toBe('authorization_pending');
  const person = createPerson(provider.origin);
  const confirm = await enterCode(person, device.user_code);
  const login = await person.submit(confirm, 'device-confirm', {}, 'device-approve');
  const end = await allow(person, await signIn(person, login, account));
  expect(readText(end.html)).toContain('Your device is connected');
  const answers = await Promise.all(Array.from({ length: 8 }, () => pollOnce(provider, tv, device)));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(answers.filter(({ error }) => error === 'invalid_grant')).toHaveLength(7);
});

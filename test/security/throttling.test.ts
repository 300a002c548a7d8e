/** Too many requests from one address: what is counted, and for whom. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startAppForTest } from '../support/app.ts';
import { createPerson, readText } from '../support/person.ts';
import { registerClient } from '../support/relying-party.ts';

afterEach(() => {
  vi.useRealTimers();
});

type Sender = { origin: string };
const post = (to: Sender, path: string, body: object, headers: Record<string, string> = {}) =>
  fetch(to.origin + path, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  });

async function expectTooMany(response: Response, mostSeconds: number): Promise<void> {
  expect(response.status).toBe(429);
  const seconds = Number(response.headers.get('retry-after'));
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThanOrEqual(mostSeconds);
  expect(Number.isInteger(seconds)).toBe(true);
}

describe('per address and minute', () => {
  const limits: [string, string, number, (index: number) => object][] = [
    ['register', '/auth/register', 30, () => ({})],
    ['clients', '/clients', 30, () => ({ redirect_uris: 1 })],
    ['sign-in', '/auth/login', 60, () => ({})],
  ];

  test.each(limits)('%s (%s): %i, and then 429 for the rest of that minute', async (_name, path, most, body) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const app = await startAppForTest();
    for (let index = 0; index < most; index += 1) expect((await post(app, path, body(index))).status).toBe(400);
    const refused = await post(app, path, body(most));
    await expectTooMany(refused, 60);
    expect(await refused.json()).toMatchObject({ error: 'too_many_requests', error_description: expect.any(String) });
    vi.setSystemTime(Date.now() + 61_000);
    expect((await post(app, path, body(0))).status).toBe(400);
  });

  test('token: 600, whatever they ask for', async () => {
    const app = await startAppForTest();
    const { client_id } = await registerClient(app, { token_endpoint_auth_method: 'none' });
    const ask = () =>
      fetch(`${app.issuer}/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'authorization_code', code: 'x', client_id }),
      });
    for (let index = 0; index < 60; index += 1) {
      const statuses = await Promise.all(Array.from({ length: 10 }, async () => (await ask()).status));
      expect(new Set(statuses)).toEqual(new Set([400]));
    }
    await expectTooMany(await ask(), 60);
  });

  test('a form is answered with a page, and pages can still be read', async () => {
    const app = await startAppForTest();
    const person = createPerson(app.origin);
    const send = () => person.open('/auth/register', { method: 'POST', body: new URLSearchParams() });
    for (let index = 0; index < 30; index += 1) expect((await send()).status).toBe(422);
    const page = await send();
    expect(page.status).toBe(429);
    expect(page.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(readText(page.html)).toContain('Too many tries');
    expect((await person.open('/auth/register')).status).toBe(200);
    expect((await person.open('/auth/login')).status).toBe(200);
  });
});

describe('who is counted (SECURITY 51)', () => {
  test('not the person whose browser another site sends: that site cannot use up their tries (SECURITY 52)', async () => {
    const app = await startAppForTest();
    for (let index = 0; index < 70; index += 1) {
      const response = await post(
        app,
        index % 2 ? '/auth/login' : '/auth/register',
        {},
        { 'sec-fetch-site': 'cross-site' },
      );
      expect(response.status).toBe(403);
    }
    expect((await post(app, '/auth/login', {})).status).toBe(400);
    expect((await post(app, '/auth/register', {})).status).toBe(400);
  });

  test('no header makes a new address of an old one, unless a proxy is trusted', async () => {
    const app = await startAppForTest();
    const forged = (index: number) => ({
      'x-forwarded-for': `203.0.113.${index}`,
      forwarded: `for=203.0.113.${index}`,
    });
    for (let index = 0; index < 30; index += 1) await post(app, '/auth/register', {}, forged(index));
    await expectTooMany(await post(app, '/auth/register', {}, forged(99)), 60);
  });

  test('behind one proxy its word counts, and what the sender put before it does not', async () => {
    const app = await startAppForTest({ env: { TRUST_PROXY: '1' } });
    const from = (index: number) => ({ 'x-forwarded-for': `10.9.8.${index}, 203.0.113.7` });
    for (let index = 0; index < 30; index += 1) await post(app, '/auth/register', {}, from(index));
    await expectTooMany(await post(app, '/auth/register', {}, from(99)), 60);
    expect((await post(app, '/auth/register', {}, { 'x-forwarded-for': '203.0.113.8' })).status).toBe(400);
  });

  test('an IPv6 neighbour is the same caller', async () => {
    const app = await startAppForTest({ env: { TRUST_PROXY: '1' } });
    const from = (index: number) => ({ 'x-forwarded-for': `2001:db8:1:2::${index.toString(16)}` });
    for (let index = 1; index <= 30; index += 1) await post(app, '/auth/register', {}, from(index));
    await expectTooMany(await post(app, '/auth/register', {}, from(999)), 60);
  });

  test('however the path is written, and at whichever instance', async () => {
    const app = await startAppForTest();
    const other = await startAppForTest({ database: { url: app.databaseUrl } });
    const spellings = ['/auth/register', '/AUTH/Register', '/auth/register/', '/auth/register?x=1'];
    for (let index = 0; index < 30; index += 1) {
      const response = await post(index % 2 ? app : other, spellings[index % spellings.length] as string, {});
      expect([index, response.status]).toEqual([index, 400]);
    }
    for (const path of spellings) await expectTooMany(await post(app, path, {}), 60);
    for (const path of ['//auth/register', '/auth/%72egister', '/auth/register/..;/']) {
      expect([404, 429]).toContain((await post(app, path, {})).status);
    }
  });
});

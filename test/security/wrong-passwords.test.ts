/** Too many wrong passwords: whom that stops, whom it does not, and for how long. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { createStranger, fromElsewhere, type Person, readText } from '../support/person.ts';
import { discover, password, registerAccount, registerClient, signIn } from '../support/relying-party.ts';

async function expectTooMany(response: Response, mostSeconds: number): Promise<void> {
  expect(response.status).toBe(429);
  const seconds = Number(response.headers.get('retry-after'));
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThanOrEqual(mostSeconds);
  expect(Number.isInteger(seconds)).toBe(true);
}

let app: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let known: Person;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  ada = await registerAccount(app);
  known = newPerson();
  await signIn(known, await known.open('/auth/login'), ada);
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

/** In a browser nobody knows. */
const newPerson = () => createStranger(app);

function attempt(guess: string, email = ada.email, to = app): Promise<Response> {
  return fetch(`${to.origin}/auth/login`, {
    method: 'POST',
    body: JSON.stringify({ email, password: guess }),
    headers: { 'content-type': 'application/json', ...fromElsewhere() },
  });
}

async function useUp(email: string): Promise<void> {
  for (let index = 0; index < 6; index += 1) {
    const guesses = await Promise.all(Array.from({ length: 5 }, () => attempt('wrong', email)));
    for (const { status } of guesses) expect(status).toBe(401);
  }
}

describe('30 wrong passwords in a row', () => {
  beforeAll(() => useUp(ada.email));

  test('pause that account for strangers, with the right password too (SECURITY 51)', async () => {
    await expectTooMany(await attempt('wrong'), 15 * 60);
    const right = await attempt(password);
    await expectTooMany(right, 15 * 60);
    expect(await right.json()).toMatchObject({ error: 'too_many_requests' });
    const elsewhere = await registerAccount(app);
    expect((await attempt(password, elsewhere.email)).status).toBe(200);
  });

  test('are one count on every way in, however the address is written (SECURITY 51, 52)', async () => {
    const rp = await discover(app, await registerClient(app));
    const stranger = newPerson();
    const pages = [
      await signIn(stranger, await stranger.open('/auth/login'), ada),
      await signIn(stranger, await stranger.open((await rp.start()).url), ada),
      await signIn(stranger, await stranger.open('/auth/login'), { ...ada, email: ` ${ada.email.toUpperCase()} ` }),
    ];
    for (const page of pages) {
      expect(page.status).toBe(429);
      expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(14 * 60);
      expect(readText(page.html)).toMatch(/Too many tries\. Wait 15 minutes/);
    }
    await expectTooMany(await attempt(password, ada.email.replace('@', '\uff20')), 15 * 60);
  });

  test('are in the database: another instance counts on (SECURITY 51)', async () => {
    const other = await startAppForTest({ env: { TRUST_PROXY: '1' }, database: { url: app.databaseUrl } });
    await expectTooMany(await attempt(password, ada.email, other), 15 * 60);
  });

  test('do not disturb the person who is signed in, nor the browser that is known (SECURITY 52)', async () => {
    expect((await known.request('/account')).status).toBe(200);
    await known.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
    await signIn(known, await known.open('/auth/login'), ada);
    expect((await known.request('/account')).status).toBe(200);
  });

  test('of an address without an account look the same (SECURITY 49)', async () => {
    await useUp('nobody@moreno.example');
    await expectTooMany(await attempt('wrong', 'nobody@moreno.example'), 15 * 60);
  });

  test('are over after a quarter of an hour, whatever was tried meanwhile (SECURITY 52)', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const { email } = await registerAccount(app);
    await useUp(email);
    for (let minute = 0; minute < 15; minute += 1) {
      await expectTooMany(await attempt('wrong', email), 15 * 60);
      vi.setSystemTime(Date.now() + 60_000);
    }
    expect((await attempt(password, email)).status).toBe(200);
    expect((await attempt('wrong', email)).status).toBe(401);
  });
});

test('a right password starts the count again', async () => {
  const { email } = await registerAccount(app);
  for (let index = 0; index < 25; index += 1) await attempt('wrong', email);
  expect((await attempt(password, email)).status).toBe(200);
  for (let index = 0; index < 10; index += 1) expect((await attempt('wrong', email)).status).toBe(401);
  expect((await attempt(password, email)).status).toBe(200);
});

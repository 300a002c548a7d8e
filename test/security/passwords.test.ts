/** Passwords, as a stranger meets them from outside. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { createPerson, fromElsewhere, readText } from '../support/person.ts';
import { discover, registerAccount, registerClient } from '../support/relying-party.ts';

let app: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  ada = await registerAccount(app);
});
afterAll(() => app.close());

function send(path: string, body: Record<string, string>, as: 'json' | 'form' = 'json', to = app): Promise<Response> {
  return fetch(to.origin + path, {
    method: 'POST',
    body: as === 'form' ? new URLSearchParams(body) : JSON.stringify(body),
    redirect: 'manual',
    headers: {
      ...fromElsewhere(),
      ...(as === 'json' && { 'content-type': 'application/json' }),
    },
  });
}

const register = (password: string, email = `${crypto.randomUUID()}@moreno.example`, to = app) =>
  send('/auth/register', { email, password, name: 'Ada' }, 'json', to);
const statusOfLogin = async (email: string, password: string) =>
  (await send('/auth/login', { email, password })).status;

describe('an unknown address and a wrong password are one and the same (SECURITY 49)', () => {
  const unknown = 'nobody@moreno.example';

  /** All that an answer says, without what is new in every answer. */
  async function told(response: Response, email: string): Promise<unknown> {
    const fleeting = ['date', 'x-request-id', 'content-length', 'etag'];
    const headers = [...response.headers].filter(([name]) => !fleeting.includes(name));
    const body = (await response.text()).replaceAll(email, 'EMAIL').replace(/req_\w+/g, '');
    return { status: response.status, headers, body };
  }

  test.each(['json', 'form'] as const)('in status, headers and body (%s)', async (as) => {
    const answer = async (email: string) =>
      told(await send('/auth/login', { email, password: 'not it at all' }, as), email);
    expect(await answer(unknown)).toEqual(await answer(ada.email));
  });

  test('inside an interaction too', async () => {
    const rp = await discover(app, await registerClient(app));
    const person = createPerson(app.origin);
    const page = await person.open((await rp.start()).url);
    const answer = async (email: string) => {
      const body = new URLSearchParams({ email, password: 'not it at all' });
      return told(await person.request(`${page.url}/login`, { method: 'POST', body }), email);
    };
    expect(await answer(unknown)).toEqual(await answer(ada.email));
  });

  test('in time', async () => {
    const elapsed = async (email: string) => {
      const startedAt = performance.now();
      await statusOfLogin(email, 'not it at all');
      return performance.now() - startedAt;
    };
    const times: Record<'known' | 'unknown', number[]> = { known: [], unknown: [] };
    for (let round = 0; round < 12; round += 1) {
      times.known.push(await elapsed(ada.email));
      times.unknown.push(await elapsed(`nobody-${round}@moreno.example`));
    }
    const median = (all: number[]) => all.sort((a, b) => a - b)[all.length >> 1] ?? 0;
    // A hash at this cost takes some 50 ms and all the rest some 5: leaving it out would show as a factor of ten.
    expect(median(times.unknown) / median(times.known)).toBeGreaterThan(0.5);
    expect(median(times.unknown) / median(times.known)).toBeLessThan(2);
  });
});

describe('registration (SECURITY 50)', () => {
  test('says that an address is taken only where the operator left it open', async () => {
    const taken = await register('long enough for anyone', ada.email.toUpperCase());
    expect(taken.status).toBe(409);
    expect(await taken.json()).toMatchObject({ error: 'email_taken' });
  });

  test('that is closed answers the same for known and unknown addresses, and makes nothing', async () => {
    const closed = await startAppForTest({
      env: { ACCOUNT_REGISTRATION: 'closed' },
      database: { url: app.databaseUrl },
    });
    for (const as of ['json', 'form'] as const) {
      const answer = async (email: string) => {
        const response = await send('/auth/register', { email, password: 'long enough', name: 'Ada' }, as, closed);
        const text = await response.text();
        return { status: response.status, text: text.replace(/req_\w+|<time.*<\/time>/g, '') };
      };
      const known = await answer(ada.email);
      expect(known.status).toBe(403);
      expect(await answer('somebody@new.example')).toEqual(known);
    }
    expect(await statusOfLogin('somebody@new.example', 'long enough')).toBe(401);
    expect(readText(await (await fetch(`${closed.origin}/auth/login`)).text())).not.toContain('Create an account');
  });
});

describe('a new password (SECURITY 55)', () => {
  test('has 8 characters or more, however many bytes those are', async () => {
    const refused = await register('1234567');
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({
      issues: [{ path: 'password', message: expect.stringContaining('Use at least 8') }],
    });
    expect((await register('🔑🔑🔑🔑🔑🔑🔑')).status).toBe(400);
    expect((await register('🔑🔑🔑🔑🔑🔑🔑🔑')).status).toBe(201);
  });

  test.each([
    ['64 characters', 'x'.repeat(64)],
    ['1024 characters', 'x'.repeat(1024)],
    ['spaces and no digit', 'correct horse battery staple'],
    ['spaces at both ends', '  spaced out  '],
    ['letters of any script', 'пароль надёжный 密码'],
    ['one character, many times', 'aaaaaaaaaaaaaaaa'],
  ])('may have %s, and is then asked for exactly', async (_what, password) => {
    const email = `${crypto.randomUUID()}@moreno.example`;
    expect((await register(password, email)).status).toBe(201);
    expect(await statusOfLogin(email, password)).toBe(200);
    expect(await statusOfLogin(email, password.slice(0, -1))).toBe(401);
    expect(await statusOfLogin(email, `${password}x`)).not.toBe(200);
    expect(await statusOfLogin(email, password.toUpperCase())).toBe(password.toUpperCase() === password ? 200 : 401);
  });

  test('counts beyond the 72 bytes that bcrypt reads', async () => {
    const email = `${crypto.randomUUID()}@moreno.example`;
    const start = 'x'.repeat(72);
    expect((await register(`${start}right`, email)).status).toBe(201);
    expect(await statusOfLogin(email, `${start}wrong`)).toBe(401);
    expect(await statusOfLogin(email, start)).toBe(401);
    expect(await statusOfLogin(email, `${start}right`)).toBe(200);
  });

  test('is the same on every keyboard, and goes on behind a NUL', async () => {
    const [composed, decomposed] = ['pässwörter', 'pässwörter'].map((text, index) =>
      text.normalize(index ? 'NFD' : 'NFC'),
    );
    const email = `${crypto.randomUUID()}@moreno.example`;
    expect((await register(composed as string, email)).status).toBe(201);
    expect(await statusOfLogin(email, decomposed as string)).toBe(200);
    const other = `${crypto.randomUUID()}@moreno.example`;
    expect((await register('long enough\0and more', other)).status).toBe(201);
    expect(await statusOfLogin(other, 'long enough\0and less')).toBe(401);
    expect(await statusOfLogin(other, 'long enough')).toBe(401);
  });

  test('is not one that everybody tries, where the operator asks for that', async () => {
    const strict = await startAppForTest({ env: { PASSWORD_CHECK: 'common' } });
    for (const common of ['password1', 'Password1', 'qwertyuiop', '12345678']) {
      const response = await register(common, undefined, strict);
      expect([common, response.status]).toEqual([common, 400]);
      expect(await response.json()).toMatchObject({ issues: [{ path: 'password' }] });
    }
    expect((await register('kestrel over tidewater', undefined, strict)).status).toBe(201);
  });

  test('in production is checked against the common ones unless told otherwise', async () => {
    const production = await startAppForTest({ env: { NODE_ENV: 'production' } });
    expect((await register('password1', undefined, production)).status).toBe(400);
  });
});

/** What a stranger can do to somebody's device and account by way of the device flow (RFC 8628 §5): nothing. */
import { and, eq, like, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { auditEvents, oidcGrants } from '../../src/db/schema.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { type Device, enterCode, pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { createPerson, createStranger, type Page, type Person, readForm, readText } from '../support/person.ts';
import { allow, password, type Registration, registerAccount, signIn } from '../support/relying-party.ts';
import { advance } from './protocol.ts';

let app: TestApp;
let tv: Registration;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  tv = await registerDevice(app);
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

const newPerson = (at: Pick<TestApp, 'origin'> = app) => createStranger(at);

async function signedInPerson(account?: Awaited<ReturnType<typeof registerAccount>>): Promise<Person> {
  const person = newPerson();
  await signIn(person, await person.open('/auth/login'), account ?? (await registerAccount(app)));
  return person;
}

const press = (person: Person, page: Page, button: string) => person.submit(page, 'device-confirm', {}, button);
const approve = async (person: Person, device: Device) =>
  press(person, await enterCode(person, device.user_code), 'device-approve');

async function connect(person: Person, device: Device): Promise<Page> {
  const page = await approve(person, device);
  return page.html.includes('id="consent"') ? allow(person, page) : page;
}

const isConnected = (page: Page) => readText(page.html).includes('Your device is connected');

describe('guessing codes (SECURITY 51, RFC 8628 §5.1)', () => {
  /** Codes that nobody has: A is not among the letters. */
  const wrongCode = (index: number) => `AAAA-AA${String.fromCodePoint(65 + (index % 26))}A`;
  const enterWrong = (person: Person, index: number) => enterCode(person, wrongCode(index));

  async function useUp(person: Person, tries = 20): Promise<void> {
    for (let index = 0; index < tries; index += 1) expect((await enterWrong(person, index)).status).toBe(422);
  }

  test('after 20 wrong codes nothing is judged for the rest of 15 minutes, the right code neither', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const { user_code } = await startDevice(app, tv);
    const person = newPerson();
    await useUp(person);
    for (const page of [await enterCode(person, user_code), await person.open(`/oidc/device?user_code=${user_code}`)]) {
      expect([page.status, readText(page.html)]).toEqual([429, expect.stringContaining('Too many tries.')]);
      const seconds = Number(page.headers.get('retry-after'));
      expect(seconds).toBeGreaterThan(0);
      expect(seconds).toBeLessThanOrEqual(900);
    }
    expect((await enterCode(newPerson(), user_code)).html).toContain('id="device-confirm"');
    vi.setSystemTime(Date.now() + 901_000);
    const device = await startDevice(app, tv);
    expect((await enterCode(person, device.user_code)).html).toContain('id="device-confirm"');
  });

  test('codes in the address count like typed ones', async () => {
    const person = newPerson();
    for (let index = 0; index < 20; index += 1) {
      expect((await person.open(`/oidc/device?user_code=${wrongCode(index)}`)).status).toBe(422);
    }
    expect((await enterWrong(person, 21)).status).toBe(429);
  });

  test('of guesses made at once no more are judged than one after the other', async () => {
    const person = newPerson();
    const guesses = Array.from({ length: 30 }, (_, index) => person.open(`/oidc/device?user_code=${wrongCode(index)}`));
    const statuses = (await Promise.all(guesses)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 422)).toHaveLength(20);
    expect(statuses.filter((status) => status === 429)).toHaveLength(10);
  });

  test('a new browser, another spelling or a forged address does not help', async () => {
    const address = { 'x-forwarded-for': '198.51.100.7' };
    await useUp(createPerson(app.origin, address));
    for (const headers of [address, { 'x-forwarded-for': '10.1.2.3, 198.51.100.7' }]) {
      const person = createPerson(app.origin, headers);
      for (const code of ['AAAA-AAAA', 'aaaaaaaa', 'AAAA AAAB'])
        expect((await enterCode(person, code)).status).toBe(429);
    }
  });

  test('another instance goes on counting, and so does one that was started since', async () => {
    const first = await startAppForTest({ env: { TRUST_PROXY: '1' } });
    const address = { 'x-forwarded-for': '198.51.100.8' };
    await useUp(createPerson(first.origin, address));
    const second = await startAppForTest({ database: { url: first.databaseUrl }, env: { TRUST_PROXY: '1' } });
    expect((await enterWrong(createPerson(second.origin, address), 0)).status).toBe(429);
  });

  test('somebody who is signed in is counted by account, from whichever address', async () => {
    const account = await registerAccount(app);
    await useUp(await signedInPerson(account), 10);
    await useUp(await signedInPerson(account), 10);
    expect((await enterWrong(await signedInPerson(account), 0)).status).toBe(429);
    expect((await enterWrong(await signedInPerson(), 0)).status).toBe(422);
  });

  test('right codes, however many, use up nothing (SECURITY 52)', async () => {
    const person = newPerson();
    const { user_code } = await startDevice(app, tv);
    for (let index = 0; index < 25; index += 1) {
      expect((await enterCode(person, user_code)).html).toContain('id="device-confirm"');
    }
  });

  test('slips that are no code at all are not looked for', async () => {
    const person = newPerson();
    for (let index = 0; index < 25; index += 1) expect((await enterCode(person, 'BCD')).status).toBe(422);
  });
});

describe('devices that ask too often', () => {
  test('codes: 60 per address and minute, then 429 with Retry-After', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const own = await startAppForTest();
    const device = await registerDevice(own);
    const ask = () =>
      fetch(`${own.issuer}/device/auth`, {
        method: 'POST',
        body: new URLSearchParams({ client_id: device.client_id, scope: 'openid' }),
      });
    for (let index = 0; index < 60; index += 1) expect((await ask()).status).toBe(200);
    const refused = await ask();
    expect([refused.status, Number(refused.headers.get('retry-after')) > 0]).toEqual([429, true]);
  });

  test('polls: slow_down for those that come before the interval is over (RFC 8628 §3.5)', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const device = await startDevice(app, tv);
    const poll = async () => (await pollOnce(app, tv, device)).error;
    expect(await poll()).toBe('authorization_pending');
    expect(await poll()).toBe('slow_down');
    vi.setSystemTime(Date.now() + 5_000);
    expect(await poll()).toBe('authorization_pending');
    vi.setSystemTime(Date.now() + 2_000);
    expect(await poll()).toBe('slow_down');
    // What was decided is told at once, however fast the device is.
    const person = newPerson();
    await press(person, await enterCode(person, device.user_code), 'device-deny');
    expect(await poll()).toBe('access_denied');
  });

  test('of polls at once one is answered with pending', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const device = await startDevice(app, tv);
    const answers = await Promise.all(Array.from({ length: 8 }, () => pollOnce(app, tv, device)));
    expect(answers.filter(({ error }) => error === 'authorization_pending')).toHaveLength(1);
    expect(answers.filter(({ error }) => error === 'slow_down')).toHaveLength(7);
  });
});

describe('at once', () => {
  test('of 8 polls for an approved code one gets tokens', async () => {
    const device = await startDevice(app, tv);
    await connect(await signedInPerson(), device);
    const answers = await Promise.all(Array.from({ length: 8 }, () => pollOnce(app, tv, device)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const { status, error } of answers)
      if (status !== 200) expect([status, error]).toEqual([400, 'invalid_grant']);
  });

  test('of several people who decide about one code the first is heard, and it is recorded once', async () => {
    const own = await registerDevice(app);
    const everybody = await Promise.all(Array.from({ length: 4 }, () => signedInPerson()));
    for (const person of everybody) await connect(person, await startDevice(app, own));
    const device = await startDevice(app, own);
    const pages: [Person, Page][] = [];
    for (const person of everybody) pages.push([person, await enterCode(person, device.user_code)]);
    const ends = await Promise.all(
      pages.map(([person, page], index) => press(person, page, index % 2 ? 'device-approve' : 'device-deny')),
    );
    const about = and(eq(auditEvents.clientId, own.client_id), like(auditEvents.event, 'device.%'));
    const decisions = await app.database.db.select().from(auditEvents).where(about).orderBy(auditEvents.id);
    expect(decisions).toHaveLength(everybody.length + 1);
    const approved = decisions.at(-1)?.event === 'device.approved';
    expect(ends.filter(isConnected)).toHaveLength(approved ? 1 : 0);
    const answer = await pollOnce(app, own, device);
    expect(answer.error).toBe(approved ? undefined : 'access_denied');
  });
});

describe('phishing and other sites (SECURITY 28, RFC 8628 §5.4)', () => {
  test('a link never connects anything, for somebody signed in with consent remembered either', async () => {
    const own = await registerDevice(app);
    const person = await signedInPerson();
    await connect(person, await startDevice(app, own));
    const device = await startDevice(app, own);
    const link = new URL(device.verification_uri_complete);
    for (const extra of ['', '&confirm=yes', '&confirm=yes&xsrf=x', '&abort=yes']) {
      const page = await person.open(link.href + extra);
      expect([extra, page.html.includes('id="device-confirm"')]).toEqual([extra, true]);
    }
    await person.request(link.href, { method: 'HEAD' });
    advance(5);
    expect(await pollOnce(app, own, device)).toMatchObject({ error: 'authorization_pending' });
  });

  test('the secret of the form is needed, and belongs to the session', async () => {
    const own = await registerDevice(app);
    const [person, mallory] = [await signedInPerson(), await signedInPerson()];
    await connect(person, await startDevice(app, own));
    const device = await startDevice(app, own);
    await enterCode(person, device.user_code);
    const theirs = new Map(readForm((await enterCode(mallory, device.user_code)).html, 'device-confirm').hidden);
    for (const xsrf of ['', 'x', theirs.get('xsrf') ?? '']) {
      const page = await person.open('/oidc/device', {
        method: 'POST',
        body: new URLSearchParams({ user_code: device.user_code, confirm: 'yes', xsrf }),
      });
      expect([xsrf, page.status, isConnected(page)]).toEqual([xsrf, 422, false]);
    }
    advance(5);
    expect(await pollOnce(app, own, device)).toMatchObject({ error: 'authorization_pending' });
  });

  test.each(['/oidc/device', '/OIDC/Device/', '/oidc/device?x=1'])(
    'another site’s form (%s) is refused',
    async (path) => {
      const device = await startDevice(app, tv);
      const person = await signedInPerson();
      const { hidden } = readForm((await enterCode(person, device.user_code)).html, 'device-confirm');
      for (const headers of [{ 'sec-fetch-site': 'cross-site' }, { origin: 'https://evil.example' }]) {
        const body = new URLSearchParams([...hidden, ['confirm', 'yes']]);
        const response = await person.request(path, {
          method: 'POST',
          body,
          headers: headers as Record<string, string>,
        });
        expect(response.status).toBe(403);
      }
    },
  );

  test('an app that nobody vouches for is marked, and its addresses are not shown as its place', async () => {
    const own = await registerDevice(app, { redirect_uris: ['https://bank.example/'] });
    const page = await enterCode(newPerson(), (await startDevice(app, own)).user_code);
    expect(readText(page.html)).toContain('Unverified');
    expect(page.html).not.toContain('bank.example');
    const person = await signedInPerson();
    const consent = await approve(person, await startDevice(app, own, { scope: 'openid profile' }));
    expect(consent.html).toContain('id="consent"');
    expect(consent.html).not.toContain('bank.example');
  });

  test('the person is told when the device is on another network', async () => {
    // Devices of these tests ask from 127.0.0.1.
    const { user_code } = await startDevice(app, tv);
    expect(readText((await enterCode(newPerson(), user_code)).html)).toContain('it asked from 127.0.0.1');
    const near = createPerson(app.origin);
    expect(readText((await enterCode(near, user_code)).html)).not.toContain('it asked from');
  });

  test('a step of the sign-in belongs to the browser that began it (SECURITY 29)', async () => {
    const victim = await signedInPerson();
    const mallory = newPerson();
    const login = await approve(mallory, await startDevice(app, tv));
    for (const path of [login.url, login.url.replace('/auth/interaction/', '/oidc/device/')]) {
      const page = await victim.open(path);
      expect([page.status, readText(page.html)]).toEqual([400, expect.stringContaining('got interrupted')]);
    }
  });
});

describe('what comes after an approval', () => {
  test('is nothing when the person was suspended before the device polled', async () => {
    const account = await registerAccount(app);
    const device = await startDevice(app, tv);
    await connect(await signedInPerson(account), device);
    await app.database.db.execute(sql`update users set suspended_at = now() where id = ${account.sub}`);
    expect(await pollOnce(app, tv, device)).toMatchObject({ status: 400, error: 'invalid_grant' });
  });

  test('is nothing when the person changed the password or disconnected the app before', async () => {
    for (const [path, fields] of [
      ['/account/password', { current_password: password, new_password: 'another horse battery' }],
      [`/account/apps/${tv.client_id}/disconnection`, {}],
    ] as [string, Record<string, string>][]) {
      const person = await signedInPerson();
      const device = await startDevice(app, tv, { scope: 'openid offline_access' });
      await connect(person, device);
      const done = await person.open(path, { method: 'POST', body: new URLSearchParams(fields) });
      expect([path, done.status]).toEqual([path, 200]);
      expect(await pollOnce(app, tv, device)).toMatchObject({ status: 400, error: 'invalid_grant' });
    }
  });

  test('a code presented again ends what came of it', async () => {
    const device = await startDevice(app, tv);
    await connect(await signedInPerson(), device);
    const { access_token } = await pollOnce(app, tv, device);
    expect(await pollOnce(app, tv, device)).toMatchObject({ error: 'invalid_grant' });
    const { status } = await fetch(`${app.issuer}/userinfo`, { headers: { authorization: `Bearer ${access_token}` } });
    expect(status).toBe(401);
  });
});

test('a reader of the database learns no device code and no token of a request (SECURITY 57)', async () => {
  const person = await signedInPerson();
  const first = await startDevice(app, tv);
  await connect(person, first);
  const { id_token } = await pollOnce(app, tv, first);
  const device = await startDevice(app, tv, { id_token_hint: String(id_token) });
  const rows = await app.database.db.select().from(oidcGrants).where(eq(oidcGrants.model, 'DeviceCode'));
  const stored = JSON.stringify(rows);
  expect(stored).toContain(device.user_code.replace('-', ''));
  expect(stored).not.toContain(device.device_code);
  expect(stored).not.toContain(String(id_token));
  expect(isConnected(await approve(person, device))).toBe(true);
});

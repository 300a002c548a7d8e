/** The one policy on every way in: whom it stops, and how their owner gets in all the same (SECURITY 51, 52). */
import { and, eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { subjectOf } from '../../src/accounts/attempts.ts';
import { throttles } from '../../src/db/schema.ts';
import { sha256 } from '../../src/lib/hash.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { readLink, readMails } from '../support/mailbox.ts';
import { createPerson, createStranger, fromElsewhere, type Person, postJson, readText } from '../support/person.ts';
import { discover, registerAccount, registerClient, signIn } from '../support/relying-party.ts';
import { setUpTwoStep, type TwoStepPerson } from '../support/two-step-person.ts';

let app: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
});
afterAll(() => app.close());
beforeEach(async () => {
  ada = await registerAccount(app);
});
afterEach(() => {
  vi.useRealTimers();
});

/** In a browser nobody knows. */
const stranger = (to: TestApp = app) => createStranger(to);

/** Ada's browser, in which she is signed in. */
async function home(account = ada): Promise<Person> {
  const person = stranger();
  expect((await logIn(person, account.password, account.email)).status).toBe(200);
  return person;
}

const logIn = (person: Person, password: string, email = ada.email) =>
  postJson(person, '/auth/login', { email, password });
const isSignedIn = async (person: Person) => (await person.request('/account')).status === 200;

async function expectTooMany(response: Response, mostSeconds = 15 * 60): Promise<void> {
  expect(response.status).toBe(429);
  const seconds = Number(response.headers.get('retry-after'));
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThanOrEqual(mostSeconds);
  expect(await response.json()).toMatchObject({ error: 'too_many_requests' });
}

/** As if so many had been wrong: wrong-passwords.test.ts sends all thirty. */
async function setWrongPasswords(hits: number): Promise<void> {
  const row = and(eq(throttles.kind, 'password'), eq(throttles.subject, sha256(subjectOf(ada.email))));
  expect(await app.database.db.update(throttles).set({ hits }).where(row).returning()).toHaveLength(1);
}

async function wrongPasswords(): Promise<void> {
  expect((await logIn(stranger(), 'wrong')).status).toBe(401);
  await setWrongPasswords(29);
  expect((await logIn(stranger(), 'wrong')).status).toBe(401);
}

describe('a password', () => {
  test('is one count at sign-in, for a change and as confirmation', async () => {
    const person = await home();
    const ways: (() => Promise<Response>)[] = [
      () => logIn(person, 'wrong'),
      () => postJson(person, '/auth/confirm', { password: 'wrong' }),
      () =>
        postJson(person, '/account/password', { current_password: 'wrong', new_password: 'kestrel over tidewater' }),
    ];
    for (const way of ways) expect((await way()).status).toBe(401);
    await setWrongPasswords(27);
    for (const way of ways) expect((await way()).status).toBe(401);
    for (const way of ways) await expectTooMany(await way());
    await expectTooMany(await postJson(person, '/auth/confirm', { password: ada.password }));
    expect(await isSignedIn(person)).toBe(true);
    expect((await logIn(stranger(), ada.password)).status, 'elsewhere nothing was tried').toBe(200);
  });

  test('that strangers try holds up nobody at home, on no way in', async () => {
    const person = await home();
    await wrongPasswords();
    await expectTooMany(await logIn(stranger(), ada.password));
    expect((await postJson(person, '/auth/confirm', { password: ada.password })).status).toBe(204);
    await person.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
    expect((await logIn(person, ada.password)).status).toBe(200);
  });
});

describe('a second factor', () => {
  let twoStep: TwoStepPerson;
  let person: Person;

  beforeEach(async () => {
    person = await home();
    twoStep = await setUpTwoStep(app, person, ada);
  });

  async function afterPassword(browser: Person = stranger()): Promise<Person> {
    expect((await logIn(browser, ada.password)).status).toBe(401);
    return browser;
  }
  const enter = (browser: Person, code: string) => postJson(browser, '/auth/second-factor', { code });
  const wrongCodes = ['000000', 'aaaa-aaaa-aaaa-aaaa', 'no code at all'];

  async function useUp(): Promise<void> {
    const browsers = await Promise.all([afterPassword(), afterPassword()]);
    for (let index = 0; index < 10; index += 1) {
      const answer = await enter(browsers[index % 2] as Person, wrongCodes[index % 3] as string);
      expect([index, answer.status]).toEqual([index, 401]);
    }
  }

  test('ten wrong codes of either kind, from whichever browser, and no more are judged', async () => {
    await useUp();
    const browser = await afterPassword();
    for (const code of [await twoStep.code(), twoStep.recoveryCodes[0] as string, '000000']) {
      await expectTooMany(await enter(browser, code));
    }
    expect(await isSignedIn(browser)).toBe(false);
    const page = await browser.submit(await browser.open('/auth/second-factor'), 'second-factor', { code: '000000' });
    expect(page.status).toBe(429);
    expect(page.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(readText(page.html)).toContain('Too many tries. Wait 15 minutes');
  });

  test('a right password, again and again, starts nothing again', async () => {
    await useUp();
    for (let index = 0; index < 3; index += 1) {
      const browser = await afterPassword();
      await afterPassword(browser);
      await expectTooMany(await enter(browser, await twoStep.code()));
    }
  });

  test('within a request of a client it is the same count, and at another instance', async () => {
    await useUp();
    const rp = await discover(app, await registerClient(app));
    const browser = stranger();
    const page = await signIn(browser, await browser.open((await rp.start()).url), ada);
    const refused = await browser.submit(page, 'second-factor', { code: await twoStep.code() });
    expect(refused.status).toBe(429);
    const other = await startAppForTest({ env: { TRUST_PROXY: '1' }, database: { url: app.databaseUrl } });
    await expectTooMany(await enter(await afterPassword(stranger(other)), await twoStep.code()));
  });

  test('in parallel no more than ten are judged', async () => {
    const browsers = await Promise.all(Array.from({ length: 16 }, () => afterPassword()));
    const statuses = await Promise.all(browsers.map(async (browser) => (await enter(browser, '000000')).status));
    expect(statuses.sort()).toEqual([...Array(10).fill(401), ...Array(6).fill(429)]);
  });

  test('the owner at home is not held up by it, and everybody gets in again after a quarter of an hour', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    await useUp();
    await person.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
    await afterPassword(person);
    expect((await enter(person, await twoStep.code())).status).toBe(200);
    expect(await isSignedIn(person)).toBe(true);
    vi.setSystemTime(Date.now() + 15 * 60_000);
    const browser = await afterPassword();
    expect((await enter(browser, await twoStep.code())).status).toBe(200);
  });

  test('a reset by mail starts no new count of codes, in no browser (SECURITY 53)', async () => {
    await useUp();
    const browser = await reset('kestrel over tidewater');
    expect((await logIn(browser, 'kestrel over tidewater')).status).toBe(401);
    await expectTooMany(await enter(browser, await twoStep.code()));
  });
});

const ask = (browser: Person, email = ada.email) => postJson(browser, '/auth/forgot-password', { email });

/** Follows a link of a mail in a browser nobody knows. */
async function reset(password: string): Promise<Person> {
  const browser = stranger();
  expect((await ask(browser)).status).toBe(202);
  const token = new URL(await readLink(app, ada.email, 'reset-password')).searchParams.get('token');
  expect((await postJson(browser, '/auth/reset-password', { token, password })).status).toBe(204);
  return browser;
}

describe('a reset by mail lets the owner in', () => {
  test('with the new password, at once', async () => {
    await wrongPasswords();
    await reset('kestrel over tidewater');
    expect((await logIn(stranger(), 'kestrel over tidewater')).status).toBe(200);
  });

  test('while others go on trying: that browser is counted by itself from now on', async () => {
    const browser = await reset('kestrel over tidewater');
    await wrongPasswords();
    await expectTooMany(await logIn(stranger(), 'kestrel over tidewater'));
    expect((await logIn(browser, 'kestrel over tidewater')).status).toBe(200);
  });

  test('however many mails others ask for: the newest link works', async () => {
    const attacker = stranger();
    for (let index = 0; index < 6; index += 1) expect((await ask(attacker)).status).toBe(202);
    const sent = async () => (await readMails(app, ada.email)).filter(({ template }) => template === 'reset-password');
    expect(await sent()).toHaveLength(3);
    await reset('kestrel over tidewater');
    expect((await logIn(stranger(), 'kestrel over tidewater')).status).toBe(200);

    const others = Array.from({ length: 20 }, () => ask(stranger()));
    for (const { status } of await Promise.all(others)) expect(status).toBe(202);
    expect((await sent()).length, 'and the mailbox is not filled').toBeLessThanOrEqual(14);
    await reset('a third of them, longer');
  });
});

describe('mails that are asked for', () => {
  test('look alike for an address without an account, when there were enough too (SECURITY 50)', async () => {
    const answers = async (email: string) => {
      const browser = stranger();
      const told = [];
      for (let index = 0; index < 5; index += 1) {
        const answer = await ask(browser, email);
        told.push([answer.status, await answer.text()]);
      }
      return told;
    };
    expect(await answers(`nobody-${ada.email}`)).toEqual(await answers(ada.email));
  });

  test('thirty from one source, for whomever, then 429', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const browser = stranger();
    for (let index = 0; index < 30; index += 1) {
      if (index === 15) vi.setSystemTime(Date.now() + 61_000);
      expect((await ask(browser, `somebody-${index}@moreno.example`)).status).toBe(202);
    }
    await expectTooMany(await ask(browser, 'one-more@moreno.example'));
    expect((await ask(stranger(), 'one-more@moreno.example')).status).toBe(202);
  });
});

describe('who is counted, on these paths too', () => {
  test.each([
    ['/auth/forgot-password', 30, { email: 'no address' }],
    ['/auth/reset-password', 60, { token: 'x' }],
    ['/auth/verify-email', 60, { token: 'x' }],
  ])('%s: %i a minute from one address, however it is written and whatever it claims', async (path, most, body) => {
    const { 'x-forwarded-for': from } = fromElsewhere();
    const send = (spelled: string, index: number) =>
      postJson(createPerson(app.origin, { 'x-forwarded-for': `10.0.0.${index}, ${from}` }), spelled, body);
    const spellings = [path, path.toUpperCase(), `${path}/`, `${path}?x=1`];
    for (let index = 0; index < most; index += 1) {
      const { status } = await send(spellings[index % 4] as string, index);
      expect([index, status]).toEqual([index, 400]);
    }
    for (const spelled of spellings) expect((await send(spelled, 99)).status).toBe(429);
    expect([404, 429]).toContain((await send(`${app.origin}/${path}`, 99)).status);
  });
});

/** The second factor: a stolen password opens nothing, and a code opens it once (SECURITY 54). */
import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { totpSecrets, users } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { readMail } from '../support/mailbox.ts';
import { createStranger, type Person, postJson, readText } from '../support/person.ts';
import { password, registerAccount, signIn } from '../support/relying-party.ts';
import { atSecondStep, isSignedIn, type TwoStepPerson, twoStepPerson } from '../support/two-step-person.ts';
import { advance } from './protocol.ts';

let app: TestApp;
let ada: TwoStepPerson;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  ada = await twoStepPerson(app);
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(() => app.close());

const newBrowser = () => createStranger(app);
const secondStep = (who = ada, person = newBrowser()) => atSecondStep(app, who.account, person);

describe('a password alone', () => {
  test('makes no session, by form or by JSON', async () => {
    const { person, page } = await secondStep();
    expect(page.url).toBe(`${app.origin}/auth/second-factor`);
    expect([...person.jar.keys()].filter((name) => name.includes('session'))).toEqual([]);
    expect(await isSignedIn(person)).toBe(false);

    const program = newBrowser();
    const answer = await postJson(program, '/auth/login', { email: ada.account.email, password });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(await answer.json()).toEqual({
      error: 'second_factor_required',
      error_description: expect.any(String),
      methods: ['totp', 'recovery_code'],
      location: '/auth/second-factor',
    });
    expect(await isSignedIn(program)).toBe(false);
    const done = await postJson(program, '/auth/second-factor', { code: await ada.code() });
    expect([done.status, await done.json()]).toEqual([
      200,
      { sub: ada.account.sub, email: ada.account.email, name: ada.account.name },
    ]);
    expect(await isSignedIn(program)).toBe(true);
  });

  test('does not make the browser a known one, whose tries would be counted apart (SECURITY 52)', async () => {
    const { person, page } = await secondStep();
    const known = () => [...person.jar.keys()].filter((name) => name.startsWith('latchkey-device'));
    expect(known()).toEqual([]);
    await person.submit(page, 'second-factor', { code: await ada.code() });
    expect(known()).toHaveLength(1);
  });

  test('that is wrong says nothing of a second factor', async () => {
    const plain = await registerAccount(app);
    const wrong = (email: string) => postJson(newBrowser(), '/auth/login', { email, password: 'not the password' });
    const answers = await Promise.all([wrong(ada.account.email), wrong(plain.email)]);
    const [one, other] = await Promise.all(answers.map((answer) => answer.json()));
    expect(one).toEqual(other);
  });
});

describe('a code of the app', () => {
  test('signs in, typed with spaces too, and leads to where the person was going', async () => {
    const person = newBrowser();
    const page = await signIn(person, await person.open('/auth/login?return_to=/account/profile'), ada.account);
    const code = await ada.code();
    const done = await person.submit(page, 'second-factor', { code: ` ${code.slice(0, 3)} ${code.slice(3)} ` });
    expect([done.status, done.url]).toEqual([200, `${app.origin}/account/profile`]);
  });

  test('works once: seen over a shoulder it is worth nothing', async () => {
    const first = await secondStep();
    const second = await secondStep();
    const code = await ada.code();
    await first.person.submit(first.page, 'second-factor', { code });
    const refused = await second.person.submit(second.page, 'second-factor', { code });
    expect([refused.status, await isSignedIn(second.person)]).toEqual([422, false]);
    expect(readText(refused.html)).toContain('That code didn’t work. Enter the newest one your app shows.');
    // The one before it is worth no more.
    const older = await postJson(second.person, '/auth/second-factor', { code: await codeWithoutReset(-1) });
    expect([older.status, await older.json()]).toEqual([401, expect.objectContaining({ error: 'invalid_code' })]);
  });

  /** Of a step that is used up, or before one. */
  async function codeWithoutReset(steps: number): Promise<string> {
    const [row] = await app.database.db.select().from(totpSecrets).where(eq(totpSecrets.accountId, ada.account.sub));
    const code = await ada.code(steps);
    await app.database.db
      .update(totpSecrets)
      .set({ lastStep: row?.lastStep ?? 0 })
      .where(eq(totpSecrets.accountId, ada.account.sub));
    return code;
  }

  test.each([-1, 1])('of a phone whose clock is %i step off signs in', async (steps) => {
    advance(0);
    const { person, page } = await secondStep();
    await person.submit(page, 'second-factor', { code: await ada.code(steps) });
    expect(await isSignedIn(person)).toBe(true);
  });

  test.each([-2, 2])('%i steps off is too far', async (steps) => {
    advance(0);
    const { person, page } = await secondStep();
    const refused = await person.submit(page, 'second-factor', { code: await ada.code(steps) });
    expect([refused.status, await isSignedIn(person)]).toEqual([422, false]);
  });

  test.each(['one browser', 'eight'])('sent eight times at once makes one session, in %s', async (where) => {
    const eve = await twoStepPerson(app);
    const liveSessions = async () => {
      const { rows } = await app.database.db.execute(
        sql`select uid from oidc_sessions where account_id = ${eve.account.sub} and ended_at is null`,
      );
      return rows.length;
    };
    const before = await liveSessions();
    const one = await secondStep(eve);
    const eight = await Promise.all(Array.from({ length: 8 }, () => (where === 'eight' ? secondStep(eve) : one)));
    const code = await eve.code();
    const answers = await Promise.all(eight.map(({ person }) => postJson(person, '/auth/second-factor', { code })));
    const statuses = answers.map(({ status }) => status).toSorted();
    expect(statuses).toEqual([200, ...Array.from({ length: 7 }, () => 401)]);
    expect(await liveSessions()).toBe(before + 1);
  });

  test('of somebody else does not work', async () => {
    const eve = await twoStepPerson(app);
    const { person, page } = await secondStep();
    for (const code of [await eve.code(), eve.recoveryCodes[0] as string]) {
      expect((await person.submit(page, 'second-factor', { code })).status).toBe(422);
    }
    expect(await isSignedIn(person)).toBe(false);
  });

  test.each(['', ' ', '12345', '1234567', 'abcdef', '１２３４', 'x'.repeat(5000), '\u0000'])(
    'is not %j',
    async (code) => {
      const { person, page } = await secondStep();
      expect((await person.submit(page, 'second-factor', { code })).status).toBe(422);
      expect(await isSignedIn(person)).toBe(false);
    },
  );
});

describe('recovery codes', () => {
  let eve: TwoStepPerson;
  beforeAll(async () => {
    eve = await twoStepPerson(app);
  });

  test('sign in once each, however they are written, and the owner gets a mail', async () => {
    const code = (eve.recoveryCodes[0] as string).replaceAll('-', ' ').toUpperCase();
    const { person, page } = await secondStep(eve);
    await person.submit(page, 'second-factor', { code });
    expect(await isSignedIn(person)).toBe(true);
    const again = await secondStep(eve);
    expect((await again.person.submit(again.page, 'second-factor', { code })).status).toBe(422);
    expect((await readMail(app, eve.account.email)).subject).toBe('A recovery code was used');
  });

  test('sent eight times at once makes one session', async () => {
    const code = eve.recoveryCodes[1];
    const browsers = await Promise.all(Array.from({ length: 8 }, () => secondStep(eve)));
    const answers = await Promise.all(browsers.map(({ person }) => postJson(person, '/auth/second-factor', { code })));
    const statuses = answers.map(({ status }) => status).toSorted();
    expect(statuses).toEqual([200, ...Array.from({ length: 7 }, () => 401)]);
  });

  test('of which few are left are spoken of after the sign-in, to people and programs', async () => {
    const { person, page } = await secondStep(eve);
    for (const code of eve.recoveryCodes.slice(2, 6)) {
      const program = (await secondStep(eve)).person;
      await postJson(program, '/auth/second-factor', { code });
    }
    const told = await person.submit(page, 'second-factor', { code: eve.recoveryCodes[6] as string });
    expect(readText(told.html)).toContain('You have 3 left.');
    expect(await isSignedIn(person)).toBe(true);
    const program = (await secondStep(eve)).person;
    const answer = await postJson(program, '/auth/second-factor', { code: eve.recoveryCodes[7] });
    expect(await answer.json()).toMatchObject({ recovery_codes_left: 2 });
  });

  test('that are renewed end those before, and only they work', async () => {
    const before = eve.recoveryCodes[8] as string;
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => postJson(eve.person, '/account/two-step/recovery-codes', {})),
    );
    const renewed = await Promise.all(
      answers.map(async (answer) => ((await answer.json()) as { recovery_codes: string[] }).recovery_codes),
    );
    const { rows } = await app.database.db.execute(
      sql`select 1 from recovery_codes where account_id = ${eve.account.sub} and used_at is null`,
    );
    expect(rows).toHaveLength(10);
    const { person, page } = await secondStep(eve);
    expect((await person.submit(page, 'second-factor', { code: before })).status).toBe(422);
    const tried = [];
    for (const [code] of renewed) {
      const answer = await postJson((await secondStep(eve)).person, '/auth/second-factor', { code });
      tried.push(answer.status);
    }
    expect(tried.toSorted()).toEqual([200, 401, 401, 401]);
  });
});

describe('the way between the steps', () => {
  const expectStart = async (person: Person) => {
    const page = await person.open('/auth/second-factor');
    expect(readText(page.html)).toContain('Sign in again. That step took too long, or began in another browser');
    expect(page.html).toContain('id="login"');
    const answer = await postJson(person, '/auth/second-factor', { code: await ada.code() });
    expect([answer.status, await answer.json()]).toEqual([401, expect.objectContaining({ error: 'login_required' })]);
    expect(await isSignedIn(person)).toBe(false);
  };

  test('leads nowhere without the first step, or from another browser', async () => {
    await secondStep();
    await expectStart(newBrowser());
  });

  test('is closed after ten minutes, whatever the browser kept', async () => {
    const { person } = await secondStep();
    const kept = new Map(person.jar);
    advance(10 * 60 + 1);
    for (const [key, cookie] of kept) person.jar.set(key, cookie);
    await expectStart(person);
  });

  test('is closed by a change of the password', async () => {
    const eve = await twoStepPerson(app);
    const { person, page } = await secondStep(eve);
    await eve.person.submit(await eve.person.open('/account/password'), 'password', {
      current_password: password,
      new_password: 'kestrel over tidewater',
    });
    const refused = await person.submit(page, 'second-factor', { code: await eve.code() });
    expect(readText(refused.html)).toContain('Sign in again.');
    expect(await isSignedIn(person)).toBe(false);
  });

  test('is closed by a suspension', async () => {
    const eve = await twoStepPerson(app);
    const { person, page } = await secondStep(eve);
    await app.database.db.update(users).set({ suspendedAt: new Date() }).where(eq(users.id, eve.account.sub));
    await person.submit(page, 'second-factor', { code: await eve.code() });
    expect(await isSignedIn(person)).toBe(false);
  });

  test('is gone once: what was kept of it makes no second session, with fresh codes either', async () => {
    const eve = await twoStepPerson(app);
    const { person } = await secondStep(eve);
    const kept = new Map(person.jar);
    const answers = await Promise.all(
      eve.recoveryCodes.slice(0, 4).map((code) => postJson(person, '/auth/second-factor', { code })),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 401, 401, 401]);
    const thief = newBrowser();
    for (const [key, cookie] of kept) if (key.includes('sign_in')) thief.jar.set(key, cookie);
    const answer = await postJson(thief, '/auth/second-factor', { code: await eve.code() });
    expect([answer.status, await isSignedIn(thief)]).toEqual([401, false]);
  });

  test('is bound to the account: another sign-in in the same browser takes its place', async () => {
    const eve = await twoStepPerson(app);
    const { person } = await secondStep();
    const { page } = await secondStep(eve, person);
    expect((await person.submit(page, 'second-factor', { code: await ada.code() })).status).toBe(422);
    await person.submit(page, 'second-factor', { code: await eve.code() });
    expect((await person.open('/account')).html).toContain(eve.account.email);
  });

  test('a session that is there already is not disturbed by coming back to it', async () => {
    const { person, page } = await secondStep();
    await person.submit(page, 'second-factor', { code: await ada.code() });
    expect((await person.open('/auth/second-factor')).url).toBe(`${app.origin}/account`);
    const again = await person.submit(page, 'second-factor', { code: await ada.code() });
    expect(again.url).toBe(`${app.origin}/account`);
  });

  test('its cookie tells nothing and is sent to the steps alone', async () => {
    const person = newBrowser();
    const response = await person.request('/auth/login', {
      method: 'POST',
      body: new URLSearchParams({ email: ada.account.email, password }),
    });
    const [cookie = ''] = response.headers.getSetCookie();
    expect(response.headers.getSetCookie()).toHaveLength(1);
    expect(cookie).toMatch(
      /^latchkey_sign_in=v1\.[\w.-]+; Max-Age=600; Path=\/auth; Expires=[^;]+; HttpOnly; SameSite=Lax$/,
    );
    expect(Buffer.from(cookie.split('.')[2] ?? '', 'base64url').toString('latin1')).not.toContain(ada.account.sub);
  });
});

describe('guessing', () => {
  test('is paused per account: a right code is not judged then, by pages and programs (SECURITY 51)', async () => {
    const eve = await twoStepPerson(app);
    const { person, page } = await secondStep(eve);
    for (let tries = 0; tries < 10; tries += 1) {
      const wrong = await postJson(person, '/auth/second-factor', {
        code: tries % 2 ? '0000-0000-0000-0000' : '000000',
      });
      expect(wrong.status).toBe(401);
    }
    const paused = await person.submit(page, 'second-factor', { code: await eve.code() });
    expect(paused.status).toBe(429);
    expect(Number(paused.headers.get('retry-after'))).toBeGreaterThan(60);
    expect(readText(paused.html)).toContain('Too many tries.');
    const other = await secondStep(eve);
    const answer = await postJson(other.person, '/auth/second-factor', { code: eve.recoveryCodes[0] });
    expect([answer.status, await isSignedIn(other.person)]).toEqual([429, false]);
    // The owner, in a browser that signed in before, is counted apart (SECURITY 52).
    await eve.person.request('/auth/logout', { method: 'POST' });
    const home = await secondStep(eve, eve.person);
    await home.person.submit(home.page, 'second-factor', { code: await eve.code() });
    expect(await isSignedIn(home.person)).toBe(true);
  });
});

/** Two-step sign-in as its owner sets it up: remembered browsers, recovery codes, turning it off, and what is stored. */
import { tmpdir } from 'node:os';
import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { rememberedDevices, totpSecrets, users } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { runCommandLine } from '../support/command-line.ts';
import { readMail } from '../support/mailbox.ts';
import { createStranger, type Person, postJson, readText } from '../support/person.ts';
import { registerAccount, signIn } from '../support/relying-party.ts';
import {
  atSecondStep,
  authenticatorOf,
  isSignedIn,
  letStepsPass,
  setUpTwoStep,
  type TwoStepPerson,
  twoStepPerson,
} from '../support/two-step-person.ts';
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

describe('a remembered browser', () => {
  async function remembered(who: TwoStepPerson): Promise<Person> {
    const { person, page } = await secondStep(who);
    await person.submit(page, 'second-factor', { code: await who.code(), remember: '1' });
    await person.request('/auth/logout', { method: 'POST' });
    return person;
  }
  const signsInAtOnce = async (who: TwoStepPerson, person: Person) => {
    await signIn(person, await person.open('/auth/login'), who.account);
    const done = await isSignedIn(person);
    await person.request('/auth/logout', { method: 'POST' });
    return done;
  };

  test('is not asked again, for that account and for 30 days', async () => {
    const person = await remembered(ada);
    expect(await signsInAtOnce(ada, person)).toBe(true);
    expect(await signsInAtOnce(await twoStepPerson(app), person)).toBe(false);
    expect(await signsInAtOnce(ada, newBrowser())).toBe(false);
    advance(30 * 24 * 60 * 60 - 60);
    expect(await signsInAtOnce(ada, person)).toBe(true);
    advance(120);
    expect(await signsInAtOnce(ada, person)).toBe(false);
  });

  test('is only one when the box was ticked, and the box comes unticked', async () => {
    const { person, page } = await secondStep();
    expect(page.html).toMatch(/<input type="checkbox" name="remember" value="1">/);
    await person.submit(page, 'second-factor', { code: await ada.code() });
    await person.request('/auth/logout', { method: 'POST' });
    expect(await signsInAtOnce(ada, person)).toBe(false);
  });

  test('with a wrong code is not remembered', async () => {
    const { person, page } = await secondStep();
    await person.submit(page, 'second-factor', { code: '000000', remember: '1' });
    expect([...person.jar.keys()].filter((name) => name.includes('remembered'))).toEqual([]);
  });

  test('is forgotten on the account page, and nobody can forget somebody else’s', async () => {
    const eve = await twoStepPerson(app);
    const person = await remembered(eve);
    const page = await eve.person.open('/account/two-step');
    const [path = ''] = /\/account\/two-step\/browsers\/[\w-]+\/removal/.exec(page.html) ?? [];
    await ada.person.request(path, { method: 'POST', body: new URLSearchParams() });
    expect(await signsInAtOnce(eve, person)).toBe(true);
    await eve.person.request(path, { method: 'POST', body: new URLSearchParams() });
    expect(await signsInAtOnce(eve, person)).toBe(false);
  });

  test('is forgotten with a change of the password, even one that forgets to say so', async () => {
    const eve = await twoStepPerson(app);
    const person = await remembered(eve);
    await app.database.db.update(users).set({ passwordChangedAt: new Date() }).where(eq(users.id, eve.account.sub));
    expect(await signsInAtOnce(eve, person)).toBe(false);
  });

  test('is forgotten with another app', async () => {
    const eve = await twoStepPerson(app);
    await remembered(eve);
    await setUpTwoStep(app, eve.person, eve.account);
    const rows = await app.database.db
      .select()
      .from(rememberedDevices)
      .where(eq(rememberedDevices.accountId, eve.account.sub));
    expect(rows).toEqual([]);
  });
});

describe('setting up and turning off', () => {
  test('ask for a sign-in of the last minutes (SECURITY 56)', async () => {
    const eve = await twoStepPerson(app);
    advance(11 * 60);
    for (const path of ['/account/two-step/removal', '/account/two-step/recovery-codes', '/account/two-step/set-up']) {
      const answer = await postJson(eve.person, path, {});
      expect([path, answer.status, await answer.json()]).toEqual([
        path,
        401,
        expect.objectContaining({ error: 'recent_sign_in_required' }),
      ]);
    }
    const page = await eve.person.open('/account/two-step/set-up');
    expect(new URL(page.url).pathname).toBe('/auth/confirm');
  });

  test('are told by mail, and once off the password is enough', async () => {
    const eve = await twoStepPerson(app);
    expect((await readMail(app, eve.account.email)).subject).toBe('Two-step sign-in is on');
    const off = await eve.person.submit(await eve.person.open('/account/two-step'), 'two-step-removal');
    expect(readText(off.html)).toContain('Two-step sign-in is off.');
    expect((await readMail(app, eve.account.email)).subject).toBe('Two-step sign-in is off');
    const { person } = await secondStep(eve);
    expect(await isSignedIn(person)).toBe(true);
    const { rows } = await app.database.db.execute(
      sql`select 1 from recovery_codes where account_id = ${eve.account.sub}`,
    );
    expect(rows).toEqual([]);
  });

  test('are the operator’s to end, for who has neither phone nor codes', async () => {
    const eve = await twoStepPerson(app);
    const machine = { env: { DATABASE_URL: app.databaseUrl, ...app.env }, folder: tmpdir() };
    const off = () => runCommandLine(machine, ['accounts', 'two-step-off', eve.account.email, '--json']);
    const done = await off();
    expect([done.code, JSON.parse(done.stdout)]).toEqual([0, { sub: eve.account.sub, two_step: false }]);
    expect((await readMail(app, eve.account.email)).subject).toBe('Two-step sign-in is off');
    expect(await isSignedIn((await secondStep(eve)).person)).toBe(true);
    expect((await off()).code).toBe(1);
  });

  test('need a right code, and the key of one account sets up no other', async () => {
    const account = await registerAccount(app);
    const person = newBrowser();
    await signIn(person, await person.open('/auth/login'), account);
    const page = await person.open('/account/two-step/set-up');
    const wrong = await person.submit(page, 'totp-set-up', { code: '000000' });
    expect(wrong.status).toBe(422);
    expect(readText(wrong.html)).toContain('That code didn’t work.');
    const key = (html: string) => /id="totp-key">([^<]+)</.exec(html)?.[1];
    expect(key(wrong.html)).toBe(key(page.html));
    expect(await isOn(account.sub)).toBe(false);

    const mallory = newBrowser();
    await signIn(mallory, await mallory.open('/auth/login'), await registerAccount(app));
    const foreign = await mallory.submit(page, 'totp-set-up', { code: authenticatorOf(page.html)() });
    expect(foreign.status).toBe(422);
    expect(key(foreign.html)).not.toBe(key(page.html));
  });

  const isOn = async (accountId: string) =>
    (await app.database.db.select().from(totpSecrets).where(eq(totpSecrets.accountId, accountId))).length === 1;

  test('the first code cannot be used again to sign in', async () => {
    const account = await registerAccount(app);
    const person = newBrowser();
    await signIn(person, await person.open('/auth/login'), account);
    const page = await person.open('/account/two-step/set-up');
    const code = authenticatorOf(page.html)();
    await person.submit(page, 'totp-set-up', { code });
    const next = await atSecondStep(app, account, newBrowser());
    expect((await next.person.submit(next.page, 'second-factor', { code })).status).toBe(422);
  });

  test('the session goes on under another id (SECURITY 31)', async () => {
    const account = await registerAccount(app);
    const person = newBrowser();
    await signIn(person, await person.open('/auth/login'), account);
    const before = new Map(person.jar);
    await setUpTwoStep(app, person, account);
    expect(await isSignedIn(person)).toBe(true);
    const old = newBrowser();
    for (const [key, cookie] of before) old.jar.set(key, cookie);
    expect(await isSignedIn(old)).toBe(false);
  });

  test('recovery codes come as a file, and nothing else does', async () => {
    const send = (codes: string[]) =>
      ada.person.request('/account/two-step/recovery-codes/file', {
        method: 'POST',
        body: new URLSearchParams(codes.map((code): [string, string] => ['code', code])),
      });
    const file = await send(ada.recoveryCodes);
    expect(file.headers.get('content-disposition')).toBe('attachment; filename=recovery-codes.txt');
    expect(file.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(file.headers.get('cache-control')).toBe('no-store');
    expect(await file.text()).toContain(ada.recoveryCodes.join('\r\n'));
    expect((await send(['<script>alert(1)</script>'])).status).toBe(404);
  });
});

test('nothing in the database could be replayed (SECURITY 57)', async () => {
  await letStepsPass(app, ada.account);
  const { person, page } = await secondStep();
  await person.submit(page, 'second-factor', { code: await ada.code(), remember: '1' });
  const [token] = [...person.jar].flatMap(([key, { value }]) => (key.startsWith('latchkey-remembered') ? [value] : []));
  const dump = [];
  for (const table of ['totp_secrets', 'recovery_codes', 'remembered_devices', 'audit_events', 'throttles', 'mails']) {
    const { rows } = await app.database.db.execute(sql`select * from ${sql.identifier(table)}`);
    dump.push(JSON.stringify(rows));
  }
  expect(token).toMatch(/^[\w-]{43}$/);
  for (const secret of [
    token as string,
    ...ada.recoveryCodes,
    ...ada.recoveryCodes.map((code) => code.replaceAll('-', '')),
  ])
    expect(dump.join()).not.toContain(secret);
  const [row] = await app.database.db.select().from(totpSecrets).where(eq(totpSecrets.accountId, ada.account.sub));
  expect(row?.secretEncrypted).toMatch(/^v1\./);
});

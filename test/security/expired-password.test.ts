/** A password that the operator has let expire: the next sign-in chooses another before there is a session. */
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { users } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { readMail } from '../support/mailbox.ts';
import { createPerson, type Page, type Person, readText } from '../support/person.ts';
import { discover, password, registerAccount, registerClient, signIn } from '../support/relying-party.ts';
import { atSecondStep, twoStepPerson } from '../support/two-step-person.ts';

const next = 'kestrel over tidewater';

let app: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1', PASSWORD_CHECK: 'common' } });
});
beforeEach(async () => {
  ada = await registerAccount(app);
  await expire();
});
afterAll(() => app.close());

const set = (values: Partial<typeof users.$inferInsert>) =>
  app.database.db.update(users).set(values).where(eq(users.id, ada.sub));
const expire = () => set({ passwordExpiredAt: new Date() });
const isSignedIn = async (who: Person) => (await who.request('/account')).status === 200;
const send = (who: Person, path: string, body: object) =>
  who.request(path, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
const signInStatus = async (secret: string) =>
  (await send(createPerson(app.origin), '/auth/login', { email: ada.email, password: secret })).status;

/** A browser that has shown the old password and is asked for another. */
async function asked(): Promise<{ person: Person; page: Page }> {
  const person = createPerson(app.origin);
  const page = await signIn(person, await person.open('/auth/login'), ada);
  expect(new URL(page.url).pathname).toBe('/auth/change-password');
  return { person, page };
}

describe('a sign-in with a password that has expired', () => {
  test('asks for another one, which then holds', async () => {
    const { person, page } = await asked();
    expect(readText(page.html)).toContain('The one you have can’t be used any longer.');
    expect(await isSignedIn(person)).toBe(false);
    const done = await person.submit(page, 'new-password', { password: next }, 'new-password-submit');
    expect(new URL(done.url).pathname).toBe('/account');
    expect(await isSignedIn(person)).toBe(true);
    expect([await signInStatus(password), await signInStatus(next)]).toEqual([401, 200]);
    expect((await readMail(app, ada.email)).subject).toBe('Your password was changed');
  });

  test('goes on with the client that asked for it', async () => {
    const rp = await discover(app, await registerClient(app));
    const person = createPerson(app.origin);
    const page = await signIn(person, await person.open((await rp.start()).url), ada);
    expect(page.url).toMatch(/\/auth\/interaction\/[\w-]+\/change-password$/);
    const consent = await person.submit(page, 'new-password', { password: next });
    expect(consent.html).toContain('id="consent"');
  });

  test('tells a program what is missing, and takes it', async () => {
    const person = createPerson(app.origin);
    const refused = await send(person, '/auth/login', { email: ada.email, password });
    expect([refused.status, await refused.json()]).toMatchObject([
      401,
      { error: 'password_change_required', location: '/auth/change-password' },
    ]);
    expect((await send(person, '/auth/change-password', { password: 'short' })).status).toBe(400);
    expect((await send(person, '/auth/change-password', { password: next })).status).toBe(200);
    expect(await isSignedIn(person)).toBe(true);
  });

  test.each([
    ['the same again', password, 'That’s your password now. Choose another.'],
    ['a common one', 'password1', 'has appeared in a leak'],
    ['a short one', 'abc', 'That’s 3 characters.'],
  ])('does not take %s', async (_what, wanted, words) => {
    const { person, page } = await asked();
    const again = await person.submit(page, 'new-password', { password: wanted });
    expect([again.status, await isSignedIn(person)]).toEqual([422, false]);
    expect(readText(again.html)).toContain(words);
    expect((await person.submit(again, 'new-password', { password: next })).status).toBe(200);
    expect(await isSignedIn(person)).toBe(true);
  });
});

describe('the step', () => {
  test('is nothing without the old password, and not another browser’s', async () => {
    const { page } = await asked();
    for (const who of [createPerson(app.origin), createPerson(app.origin)]) {
      expect((await who.open('/auth/change-password')).html).toContain('id="login"');
      expect((await send(who, '/auth/change-password', { password: next })).status).toBe(401);
      const stolen = await who.submit(page, 'new-password', { password: next });
      expect(readText(stolen.html)).toContain('Sign in again.');
    }
    expect(await signInStatus(next)).toBe(401);
  });

  test('comes after the second factor, never before or instead', async () => {
    const two = await twoStepPerson(app);
    await app.database.db.update(users).set({ passwordExpiredAt: new Date() }).where(eq(users.id, two.account.sub));
    const { person, page } = await atSecondStep(app, two.account);
    expect(new URL(page.url).pathname).toBe('/auth/second-factor');
    expect((await send(person, '/auth/change-password', { password: next })).status).toBe(401);
    const again = await atSecondStep(app, two.account);
    const code = { code: await two.code() };
    const step = await again.person.submit(again.page, 'second-factor', code, 'second-factor-submit');
    expect([new URL(step.url).pathname, await isSignedIn(again.person)]).toEqual(['/auth/change-password', false]);
    await again.person.submit(step, 'new-password', { password: next });
    expect(await isSignedIn(again.person)).toBe(true);
  });

  test('is none for an account whose password is good', async () => {
    const { person } = await asked();
    await set({ passwordExpiredAt: null });
    expect((await send(person, '/auth/change-password', { password: next })).status).toBe(401);
    expect(await signInStatus(password)).toBe(200);
  });

  test('is worth nothing once the password was changed elsewhere, or the account suspended', async () => {
    const { person, page } = await asked();
    const other = await asked();
    await other.person.submit(other.page, 'new-password', { password: next });
    const late = await person.submit(page, 'new-password', { password: 'third time is a charm' });
    expect(readText(late.html)).toContain('Sign in again.');
    expect([await isSignedIn(person), await signInStatus(next)]).toEqual([false, 200]);
    await expire();
    const suspended = createPerson(app.origin);
    const asking = await signIn(suspended, await suspended.open('/auth/login'), { ...ada, password: next });
    await set({ suspendedAt: new Date() });
    await suspended.submit(asking, 'new-password', { password: 'third time is a charm' });
    await set({ suspendedAt: null });
    expect(await isSignedIn(suspended)).toBe(false);
    expect(await signInStatus('third time is a charm')).toBe(401);
  });

  test('taken eight times at once changes the password once and makes one session', async () => {
    const { person } = await asked();
    const words = Array.from({ length: 8 }, (_, index) => `${next} ${index}`);
    const copies = words.map(() => {
      const copy = createPerson(app.origin);
      for (const [key, cookie] of person.jar) copy.jar.set(key, cookie);
      return copy;
    });
    const answers = await Promise.all(
      copies.map((copy, index) => send(copy, '/auth/change-password', { password: words[index] })),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.toSorted()).toEqual([200, ...Array(7).fill(401)]);
    const signedIn = await Promise.all(copies.map(isSignedIn));
    expect(signedIn.filter(Boolean)).toHaveLength(1);
    expect(await signInStatus(words[statuses.indexOf(200)] as string)).toBe(200);
  });
});

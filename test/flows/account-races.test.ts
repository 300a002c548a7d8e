/** Everything of an account that is good once, used eight times at once at two instances: one use wins. */
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { auditEvents, recoveryCodes, totpSecrets, users } from '../../src/db/schema.ts';
import { addPasskey, type Offer } from '../accounts/passkey-fixture.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createPasskey } from '../support/authenticator.ts';
import { readLink, readMails } from '../support/mailbox.ts';
import { createStranger, type Person, postJson, readForm } from '../support/person.ts';
import { password, registerAccount } from '../support/relying-party.ts';
import { authenticatorOf, setUpTwoStep } from '../support/two-step-person.ts';

let app: TestApp;
let other: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let home: Person;

const env = { TRUST_PROXY: '1' };

beforeAll(async () => {
  app = await startApp({ named: true, env });
  other = await startApp({ env: { ...env, OIDC_ISSUER: app.origin }, database: { url: app.databaseUrl } });
});
afterAll(async () => {
  await other.close();
  await app.close();
});
beforeEach(async () => {
  ada = await registerAccount(app);
  home = browser();
  expect(await statusOf(logIn(home))).toBe(200);
});

const browser = () => createStranger(app);
const browsers = (count = 8) => Array.from({ length: count }, browser);

const logIn = (person: Person, secret = ada.password) =>
  postJson(person, '/auth/login', { email: ada.email, password: secret });
const statusOf = async (response: Promise<Response>) => (await response).status;
const isSignedIn = async (person: Person) => (await person.request('/account')).status === 200;

/** Sends what `bodies` has, all at once, by turns to both instances. The answers' statuses come sorted. */
async function atOnce(path: string, people: readonly Person[], bodyOf: (index: number) => object): Promise<number[]> {
  const sent = people.map((person, index) =>
    statusOf(postJson(person, `http://127.0.0.1:${(index % 2 ? app : other).port}${path}`, bodyOf(index))),
  );
  return (await Promise.all(sent)).sort();
}
const one = (won: number, lost: number) => [won, ...Array(7).fill(lost)].sort();

async function signedIn(people: readonly Person[]): Promise<number> {
  return (await Promise.all(people.map(isSignedIn))).filter(Boolean).length;
}
async function eventsOf(event: string, accountId = ada.sub): Promise<number> {
  const where = and(eq(auditEvents.accountId, accountId), eq(auditEvents.event, event));
  return (await app.database.db.select().from(auditEvents).where(where)).length;
}
const tokenOf = (link: string) => new URL(link).searchParams.get('token') ?? '';
const tokenFor = async (email: string, template: string) => tokenOf(await readLink(app, email, template));

describe('a link in a mail', () => {
  test('to choose another password chooses one (SECURITY 53)', async () => {
    await postJson(browser(), '/auth/forgot-password', { email: ada.email });
    const token = await tokenFor(ada.email, 'reset-password');
    const choices = Array.from({ length: 8 }, (_, index) => `kestrel over tidewater ${index}`);
    const statuses = await atOnce('/auth/reset-password', browsers(), (index) => ({ token, password: choices[index] }));
    expect(statuses).toEqual(one(204, 400));
    const work = await Promise.all([password, ...choices].map((secret) => statusOf(logIn(browser(), secret))));
    expect(work.filter((status) => status === 200)).toHaveLength(1);
    expect(work[0]).toBe(401);
    expect(await eventsOf('password.reset')).toBe(1);
    expect(await isSignedIn(home)).toBe(false);
  });

  test('and another one at the same time choose one as well: only the newest link is good', async () => {
    await postJson(browser(), '/auth/forgot-password', { email: ada.email });
    const older = await tokenFor(ada.email, 'reset-password');
    const [asked, statuses] = await Promise.all([
      statusOf(postJson(browser(), '/auth/forgot-password', { email: ada.email })),
      atOnce('/auth/reset-password', browsers(), () => ({ token: older, password: 'kestrel over tidewater' })),
    ]);
    expect(asked).toBe(202);
    expect(statuses.filter((status) => status === 204).length).toBeLessThanOrEqual(1);
    expect(await eventsOf('password.reset')).toBe(statuses.filter((status) => status === 204).length);
  });

  test('to prove an address proves it once', async () => {
    await postJson(home, '/account/verify-email', {});
    const token = await tokenFor(ada.email, 'verify-email');
    expect(await atOnce('/auth/verify-email', browsers(), () => ({ token }))).toEqual(one(200, 400));
    expect(await eventsOf('email.verified')).toBe(1);
  });

  test('to agree to another address agrees once, on both sides at once too', async () => {
    await app.database.db.update(users).set({ emailVerified: true }).where(eq(users.id, ada.sub));
    const wanted = `new-${ada.email}`;
    expect(await statusOf(postJson(home, '/account/email', { email: wanted, password }))).toBe(202);
    const tokens = [await tokenFor(wanted, 'change-email-new'), await tokenFor(ada.email, 'change-email-old')];
    const statuses = await atOnce('/auth/change-email', browsers(16), (index) => ({
      token: tokens[index >> 3],
      decision: 'agree',
    }));
    expect(statuses).toEqual([200, 200, ...Array(14).fill(400)]);
    expect(await eventsOf('email.changed')).toBe(1);
    const [row] = await app.database.db.select().from(users).where(eq(users.id, ada.sub));
    expect(row).toMatchObject({ email: wanted, emailVerified: true });
  });

  test('agreed to and called off at once, the change is either made or not', async () => {
    await app.database.db.update(users).set({ emailVerified: true }).where(eq(users.id, ada.sub));
    const wanted = `new-${ada.email}`;
    await postJson(home, '/account/email', { email: wanted, password });
    const [agreeing, asked] = [
      await tokenFor(wanted, 'change-email-new'),
      await tokenFor(ada.email, 'change-email-old'),
    ];
    await postJson(browser(), '/auth/change-email', { token: agreeing, decision: 'agree' });
    await atOnce('/auth/change-email', browsers(), (index) => ({
      token: asked,
      decision: index % 2 ? 'agree' : 'stop',
    }));
    const [row] = await app.database.db.select().from(users).where(eq(users.id, ada.sub));
    const [changed, cancelled] = [await eventsOf('email.changed'), await eventsOf('email.change-cancelled')];
    expect([changed, cancelled].sort()).toEqual([0, 1]);
    expect(row?.email).toBe(changed === 1 ? wanted : ada.email);
  });
});

describe('registration where addresses are proven first', () => {
  let verified: TestApp;
  beforeAll(async () => {
    const { databaseUrl: url } = app;
    verified = await startApp({
      env: { ...env, OIDC_ISSUER: app.origin, ACCOUNT_REGISTRATION: 'verified' },
      database: { url },
    });
  });
  afterAll(() => verified.close());

  const register = (person: Person, email: string, secret = password) =>
    postJson(person, `http://127.0.0.1:${verified.port}/auth/register`, { email, name: 'Bea', password: secret });
  const accountsWith = (email: string) => app.database.db.select().from(users).where(eq(users.email, email));

  test('a link makes one account', async () => {
    const email = `bea-${ada.email}`;
    const person = browser();
    expect(await statusOf(register(person, email))).toBe(202);
    const token = await tokenFor(email, 'register');
    const people = Array(8).fill(person) as Person[];
    expect(await atOnce('/auth/verify-email', people, () => ({ token }))).toEqual(one(201, 400));
    expect(await accountsWith(email)).toHaveLength(1);
  });

  test('four registrations of one address make one account, with the password of the link that won', async () => {
    const email = `cleo-${ada.email}`;
    const secrets = Array.from({ length: 4 }, (_, index) => `tram window salt ${index}`);
    await Promise.all(browsers(4).map((person, index) => register(person, email, secrets[index])));
    const mails = (await readMails(app, email)).filter(({ template }) => template === 'register');
    expect(mails).toHaveLength(4);
    // Each link in whichever browser: its own password goes with it.
    const tries = mails.flatMap(({ links: [link = ''] }) =>
      secrets.map((secret) => ({ token: tokenOf(link), secret })),
    );
    const statuses = await Promise.all(
      tries.map(({ token, secret }) =>
        statusOf(postJson(browser(), '/auth/verify-email', { token, password: secret })),
      ),
    );
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    expect(await accountsWith(email)).toHaveLength(1);
    const works = await Promise.all(
      secrets.map((secret) => statusOf(postJson(browser(), '/auth/login', { email, password: secret }))),
    );
    expect(works.filter((status) => status === 200)).toHaveLength(1);
  });
});

describe('a second factor (SECURITY 54)', () => {
  async function afterPassword(people: Person[]): Promise<Person[]> {
    const statuses = await Promise.all(people.map((person) => statusOf(logIn(person))));
    expect(new Set(statuses)).toEqual(new Set([401]));
    return people;
  }

  test('a code of the app signs in one of eight browsers', async () => {
    const { code } = await setUpTwoStep(app, home, ada);
    const people = await afterPassword(browsers());
    const shown = await code();
    expect(await atOnce('/auth/second-factor', people, () => ({ code: shown }))).toEqual(one(200, 401));
    expect(await signedIn(people)).toBe(1);
  });

  test('and so does one of its step and the next, each once', async () => {
    const { code } = await setUpTwoStep(app, home, ada);
    const people = await afterPassword(browsers());
    const codes = [await code(), await code(1)];
    const statuses = await atOnce('/auth/second-factor', people, (index) => ({ code: codes[index >> 2] }));
    const won = statuses.filter((status) => status === 200).length;
    // The later step, when it comes first, ends the earlier one too.
    expect([1, 2]).toContain(won);
    expect(await signedIn(people)).toBe(won);
  });

  test('a recovery code signs in one of eight browsers, and is told of once', async () => {
    const {
      recoveryCodes: [code = ''],
    } = await setUpTwoStep(app, home, ada);
    const people = await afterPassword(browsers());
    expect(await atOnce('/auth/second-factor', people, () => ({ code }))).toEqual(one(200, 401));
    expect(await signedIn(people)).toBe(1);
    expect(await eventsOf('recovery-code.used')).toBe(1);
  });

  test('one step of one sign-in is finished once, with codes that are all good', async () => {
    const { recoveryCodes: codes } = await setUpTwoStep(app, home, ada);
    const [{ jar }] = (await afterPassword([browser()])) as [Person];
    const people = browsers().map((person) => withJar(person, jar));
    expect(await atOnce('/auth/second-factor', people, (index) => ({ code: codes[index] }))).toEqual(one(200, 401));
    expect(await signedIn(people)).toBe(1);
  });

  test('turned on eight times at once it has one app and ten codes, those of one answer', async () => {
    const pages = await Promise.all(Array.from({ length: 8 }, () => home.open('/account/two-step/set-up')));
    const answers = await Promise.all(
      pages.map((page, index) =>
        postJson(home, `http://127.0.0.1:${(index % 2 ? app : other).port}/account/two-step/set-up`, {
          ...Object.fromEntries(readForm(page.html, 'totp-set-up').hidden),
          code: authenticatorOf(page.html)(),
        }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
    const { db } = app.database;
    expect(await db.select().from(totpSecrets).where(eq(totpSecrets.accountId, ada.sub))).toHaveLength(1);
    expect(await db.select().from(recoveryCodes).where(eq(recoveryCodes.accountId, ada.sub))).toHaveLength(10);
  });
});

describe('a passkey', () => {
  test('a challenge is answered once', async () => {
    const passkey = createPasskey(app.origin, { steps: false });
    expect((await addPasskey(home, passkey)).status).toBe(201);
    const person = browser();
    const { handle, options } = (await (await postJson(person, '/auth/passkey/options', {})).json()) as Offer;
    const answer = { handle, credential: passkey.get(options) };
    const statuses = await atOnce('/auth/login', Array(8).fill(person) as Person[], () => answer);
    expect(statuses).toEqual(one(200, 401));
  });

  test('a registration is taken once', async () => {
    const { handle, options } = (await (await postJson(home, '/account/passkeys/options', {})).json()) as never as {
      handle: string;
      options: Parameters<ReturnType<typeof createPasskey>['create']>[0];
    };
    const bodies = Array.from({ length: 8 }, () => ({ handle, credential: createPasskey(app.origin).create(options) }));
    const statuses = await atOnce('/account/passkeys', Array(8).fill(home) as Person[], (index) => bodies[index] ?? {});
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    expect(await eventsOf('passkey.added')).toBe(1);
  });
});

describe('a sign-in and the end of what it rests on', () => {
  test('with the old password, while a reset chooses another: nobody stays signed in', async () => {
    await postJson(browser(), '/auth/forgot-password', { email: ada.email });
    const token = await tokenFor(ada.email, 'reset-password');
    const people = browsers();
    const [, reset] = await Promise.all([
      atOnce('/auth/login', people, () => ({ email: ada.email, password: ada.password })),
      statusOf(postJson(browser(), '/auth/reset-password', { token, password: 'kestrel over tidewater' })),
    ]);
    expect(reset).toBe(204);
    expect(await signedIn([...people, home])).toBe(0);
  });

  test('an expired password is replaced once in one sign-in', async () => {
    await app.database.db.update(users).set({ passwordExpiredAt: new Date() }).where(eq(users.id, ada.sub));
    const people = browsers();
    expect(new Set(await atOnce('/auth/login', people, () => ({ email: ada.email, password }))), 'not yet').toEqual(
      new Set([401]),
    );
    const secrets = people.map((_, index) => `kestrel over tidewater ${index}`);
    const statuses = await atOnce('/auth/change-password', people, (index) => ({ password: secrets[index] }));
    expect(statuses).toEqual(one(200, 401));
    expect(await signedIn(people)).toBe(1);
    expect(await eventsOf('password.changed')).toBe(1);
  });
});

/** A browser with the cookies of another. */
function withJar(person: Person, jar: Person['jar']): Person {
  for (const [key, cookie] of jar) person.jar.set(key, cookie);
  return person;
}

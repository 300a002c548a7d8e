/** A new password by a link in a mail: what it does, what it does not, and what strangers learn (SECURITY 50, 53). */
import { and, eq, sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { auditEvents, emailTokens, mails, users } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { readLink, readMail, readMails } from '../support/mailbox.ts';
import { createPerson, fromElsewhere, type Person, readText } from '../support/person.ts';
import {
  discover,
  password,
  type Registration,
  registerAccount,
  registerClient,
  signIn,
} from '../support/relying-party.ts';
import { atSecondStep, twoStepPerson } from '../support/two-step-person.ts';
import { issueTokens, refresh, type SignedIn, signedInPerson, userinfoStatus } from './protocol.ts';

const next = 'kestrel over tidewater';

let app: TestApp;
let client: Registration;
let ada: SignedIn;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1', PASSWORD_CHECK: 'common' } });
  client = await registerClient(app);
});
beforeEach(async () => {
  ada = await signedInPerson(app);
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(() => app.close());

function send(path: string, body: object, who: Pick<Person, 'request'> = createPerson(app.origin), headers = {}) {
  const init = { method: 'POST', body: JSON.stringify(body) };
  return who.request(path, {
    ...init,
    headers: { 'content-type': 'application/json', ...fromElsewhere(), ...headers },
  });
}
const ask = (email: string, headers = {}) => send('/auth/forgot-password', { email }, undefined, headers);
const tokenOf = (link: string) => new URL(link).searchParams.get('token') ?? '';
const reset = (token: string, wanted = next) => send('/auth/reset-password', { token, password: wanted });
const signInStatus = async (secret: string, email = ada.account.email) =>
  (await send('/auth/login', { email, password: secret })).status;
const isSignedIn = async (who: Person) => (await who.request('/account')).status === 200;
const accountRow = async () => {
  const [row] = await app.database.db.select().from(users).where(eq(users.id, ada.account.sub));
  return row as typeof users.$inferSelect;
};

async function resetLink(): Promise<string> {
  expect((await ask(ada.account.email)).status).toBe(202);
  return readLink(app, ada.account.email, 'reset-password');
}

describe('a person who forgot the password', () => {
  test('asks for a link, chooses another, and signs in with it', async () => {
    const person = createPerson(app.origin, fromElsewhere());
    const forgot = await person.open('/auth/forgot-password');
    const asked = await person.submit(forgot, 'forgot-password', { email: ada.account.email });
    expect(readText(asked.html)).toContain('Check your email');
    const page = await person.open(await readLink(app, ada.account.email, 'reset-password'));
    expect(page.html).toContain(`value="${ada.account.email}"`);
    expect(page.headers.get('cache-control')).toBe('no-store');
    const done = await person.submit(page, 'new-password', { password: next }, 'new-password-submit');
    expect(new URL(done.url).pathname).toBe('/auth/login');
    expect(readText(done.html)).toContain('Your password is changed. Sign in with the new one.');
    const account = await signIn(person, done, { email: ada.account.email, password: next });
    expect(new URL(account.url).pathname).toBe('/account');
    expect([await signInStatus(password), await signInStatus(next)]).toEqual([401, 200]);
  });

  test('goes on with the client that they came from', async () => {
    const rp = await discover(app, client);
    const person = createPerson(app.origin, fromElsewhere());
    const request = await rp.start({ scope: 'openid' });
    const start = await person.open(request.url);
    const href = /href="(\/auth\/forgot-password[^"]*)"/.exec(start.html)?.[1] ?? '';
    await person.submit(await person.open(href), 'forgot-password', { email: ada.account.email });
    const page = await person.open(await readLink(app, ada.account.email, 'reset-password'));
    const login = await person.submit(page, 'new-password', { password: next });
    const consent = await signIn(person, login, { email: ada.account.email, password: next });
    expect(consent.url).toContain('/auth/interaction/');
    expect(consent.html).toContain('id="consent"');
  });

  test('is told by mail, and the log knows both steps without any secret (SECURITY 56, 57)', async () => {
    const token = tokenOf(await resetLink());
    expect((await reset(token)).status).toBe(204);
    expect((await readMail(app, ada.account.email)).subject).toBe('Your password was changed');
    const events = await app.database.db.select().from(auditEvents).where(eq(auditEvents.accountId, ada.account.sub));
    expect(events.map(({ event }) => event)).toEqual(
      expect.arrayContaining(['password.reset-requested', 'password.reset']),
    );
    expect(JSON.stringify(events)).not.toContain(token);
    expect(JSON.stringify(app.log)).not.toContain(token);
    const stored = await app.database.db.execute(sql`select * from ${emailTokens} natural full join ${mails}`);
    expect(JSON.stringify(stored.rows)).not.toContain(token);
  });
});

describe('a new password by a link (SECURITY 53)', () => {
  test('proves the address, ends an order to change it, and says when it was', async () => {
    await app.database.db.update(users).set({ passwordExpiredAt: new Date() }).where(eq(users.id, ada.account.sub));
    const before = new Date();
    await reset(tokenOf(await resetLink()));
    const { emailVerified, passwordExpiredAt, passwordChangedAt } = await accountRow();
    expect([emailVerified, passwordExpiredAt]).toEqual([true, null]);
    expect(passwordChangedAt?.getTime()).toBeGreaterThanOrEqual(before.getTime());
  });

  test('signs nobody in', async () => {
    const token = tokenOf(await resetLink());
    const person = createPerson(app.origin);
    const answer = await send('/auth/reset-password', { token, password: next }, person);
    // The mark of a known browser, which opens nothing.
    expect(answer.headers.getSetCookie().filter((cookie) => !cookie.startsWith('latchkey-device='))).toEqual([]);
    expect(await isSignedIn(person)).toBe(false);
  });

  test('ends all sessions and all that clients hold (SECURITY 21)', async () => {
    const offline = await issueTokens(app, client, ada);
    const link = await resetLink();
    expect(await isSignedIn(ada.person)).toBe(true);
    expect((await reset(tokenOf(link))).status).toBe(204);
    expect(await isSignedIn(ada.person)).toBe(false);
    expect(await userinfoStatus(app, offline.access_token)).toBe(401);
    expect((await refresh(app, client, offline.refresh_token)).status).toBe(400);
  });

  test('does not spare the second factor, and remembered browsers are forgotten', async () => {
    const two = await twoStepPerson(app);
    const { email } = two.account;
    const trusted = await atSecondStep(app, two.account);
    const fields = { code: await two.code(), remember: '1' };
    await trusted.person.submit(trusted.page, 'second-factor', fields, 'second-factor-submit');
    expect(await isSignedIn(trusted.person)).toBe(true);
    await ask(email);
    const page = await trusted.person.open(await readLink(app, email, 'reset-password'));
    const login = await trusted.person.submit(page, 'new-password', { password: next });
    const step = await signIn(trusted.person, login, { email, password: next });
    expect(new URL(step.url).pathname).toBe('/auth/second-factor');
    expect(await isSignedIn(trusted.person)).toBe(false);
    await trusted.person.submit(step, 'second-factor', { code: await two.code() }, 'second-factor-submit');
    expect(await isSignedIn(trusted.person)).toBe(true);
  });

  test('keeps the rules for passwords, and a refused one leaves the link good', async () => {
    const token = tokenOf(await resetLink());
    for (const bad of ['short', 'password1', ada.account.email]) {
      expect([bad, (await reset(token, bad)).status]).toEqual([bad, 400]);
    }
    const page = await createPerson(app.origin, fromElsewhere()).open(`/auth/reset-password?token=${token}`);
    const again = await createPerson(app.origin, fromElsewhere()).submit(page, 'new-password', { password: 'abc' });
    expect(again.status).toBe(422);
    expect(readText(again.html)).toContain('That’s 3 characters. Use at least 8.');
    expect((await reset(token)).status).toBe(204);
  });

  test('lets in the owner whom strangers’ guesses kept out (SECURITY 52)', async () => {
    const link = await resetLink();
    for (let round = 0; round < 30; round += 1) await signInStatus(`wrong ${round}`);
    expect(await signInStatus(password)).toBe(429);
    await reset(tokenOf(link));
    expect(await signInStatus(next)).toBe(200);
  });
});

describe('a link', () => {
  test('has 256 bits, and its host from the configuration alone', async () => {
    const forged = { host: 'evil.example', 'x-forwarded-host': 'evil.example', forwarded: 'host=evil.example' };
    await ask(ada.account.email, forged);
    const mail = await readMail(app, ada.account.email, 'reset-password');
    expect(mail.links.every((link) => link.startsWith(app.origin))).toBe(true);
    expect(tokenOf(mail.links[0] as string)).toMatch(/^[\w-]{43}$/);
    expect(mail.html + mail.text).not.toContain('evil.example');
  });

  test('is not used up by being looked at', async () => {
    const link = await resetLink();
    for (let look = 0; look < 3; look += 1) {
      expect((await createPerson(app.origin).open(link)).html).toContain('id="new-password"');
    }
    expect((await reset(tokenOf(link))).status).toBe(204);
  });

  test('works once', async () => {
    const link = await resetLink();
    expect((await reset(tokenOf(link))).status).toBe(204);
    const second = await reset(tokenOf(link), 'third time is a charm');
    expect([second.status, ((await second.json()) as { error: string }).error]).toEqual([400, 'invalid_token']);
    expect(await signInStatus(next)).toBe(200);
    const page = await createPerson(app.origin).open(link);
    expect(page.status).toBe(400);
    expect(readText(page.html)).toContain('This link has been used or has run out');
    expect(page.html).toContain('href="/auth/forgot-password"');
  });

  test('of eight uses at once one wins', async () => {
    const token = tokenOf(await resetLink());
    const words = Array.from({ length: 8 }, (_, index) => `${next} ${index}`);
    const statuses = await Promise.all(words.map(async (each) => (await reset(token, each)).status));
    expect(statuses.toSorted()).toEqual([204, ...Array(7).fill(400)]);
    expect(await signInStatus(words[statuses.indexOf(204)] as string)).toBe(200);
    const changes = await app.database.db
      .select()
      .from(auditEvents)
      .where(and(eq(auditEvents.accountId, ada.account.sub), eq(auditEvents.event, 'password.reset')));
    expect(changes).toHaveLength(1);
  });

  test('ends when a newer one is asked for, however many at once', async () => {
    const first = tokenOf(await resetLink());
    await Promise.all([ask(ada.account.email), ask(ada.account.email)]);
    expect((await reset(first)).status).toBe(400);
    const rows = await app.database.db
      .select()
      .from(emailTokens)
      .where(and(eq(emailTokens.accountId, ada.account.sub), eq(emailTokens.purpose, 'reset')));
    expect(rows).toHaveLength(1);
    const links = (await readMails(app, ada.account.email)).filter(({ template }) => template === 'reset-password');
    const statuses = [];
    for (const {
      links: [link = ''],
    } of links)
      statuses.push((await reset(tokenOf(link))).status);
    expect(statuses.filter((status) => status === 204)).toHaveLength(1);
  });

  test('ends when the password is changed otherwise', async () => {
    const token = tokenOf(await resetLink());
    const body = { current_password: password, new_password: next };
    expect((await send('/account/password', body, ada.person)).status).toBe(204);
    expect((await reset(token, 'yet another password')).status).toBe(400);
    expect(await signInStatus(next)).toBe(200);
  });

  test('runs out after half an hour', async () => {
    const token = tokenOf(await resetLink());
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 29 * 60_000);
    expect((await createPerson(app.origin).open(`/auth/reset-password?token=${token}`)).status).toBe(200);
    vi.setSystemTime(Date.now() + 61_000);
    expect((await createPerson(app.origin).open(`/auth/reset-password?token=${token}`)).status).toBe(400);
    expect((await reset(token)).status).toBe(400);
  });

  test('is its account’s alone, and nothing else is a link', async () => {
    const bob = await registerAccount(app);
    const token = tokenOf(await resetLink());
    expect((await reset(token)).status).toBe(204);
    expect(await signInStatus(next, bob.email)).toBe(401);
    for (const other of ['', 'x'.repeat(43), `${token}x`, 7, null, { $ne: '' }, ['x']]) {
      expect([other, (await send('/auth/reset-password', { token: other, password: next })).status]).toEqual([
        other,
        400,
      ]);
    }
  });

  test('of a suspended account does nothing, nor is one sent', async () => {
    const token = tokenOf(await resetLink());
    await app.database.db.update(users).set({ suspendedAt: new Date() }).where(eq(users.id, ada.account.sub));
    expect((await reset(token)).status).toBe(400);
    const before = (await readMails(app, ada.account.email)).length;
    expect((await ask(ada.account.email)).status).toBe(202);
    expect(await readMails(app, ada.account.email)).toHaveLength(before);
  });
});

describe('a stranger', () => {
  test('learns nothing from asking: the same answer, the same work (SECURITY 50)', async () => {
    const answers = [];
    for (const email of [ada.account.email, 'nobody@moreno.example']) {
      const asked = vi.spyOn(pg.Client.prototype, 'query');
      const answer = await ask(email);
      const body = (await answer.text()).replaceAll(email, '');
      const headers = [...answer.headers].filter(([name]) => !['date', 'x-request-id'].includes(name));
      const statements = asked.mock.calls
        .map(([query]) => (typeof query === 'string' ? query : (query as { text: string }).text))
        // What the server does by itself meanwhile is another matter.
        .filter((text) => /users|email_tokens|insert into "(mails|audit_events)"|^(begin|commit|rollback)/.test(text));
      asked.mockRestore();
      answers.push({ status: answer.status, body, headers, statements });
    }
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]?.status).toBe(202);
  });

  test('leaves nothing behind, and gets no mail', async () => {
    const email = 'nobody.at.all@moreno.example';
    await ask(email);
    expect(await readMails(app, email)).toEqual([]);
    const left = await app.database.db.select().from(emailTokens).where(sql`${emailTokens.accountId} is null`);
    expect(left).toEqual([]);
  });

  test('cannot fill a mailbox: three mails in a quarter of an hour, and the latest link stays good (SECURITY 51)', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const from = fromElsewhere();
    for (let round = 0; round < 6; round += 1) {
      vi.setSystemTime(Date.now() + 1000);
      expect((await ask(ada.account.email, from)).status).toBe(202);
    }
    const sent = (await readMails(app, ada.account.email)).filter(({ template }) => template === 'reset-password');
    expect(sent).toHaveLength(3);
    expect((await reset(tokenOf(sent[0]?.links[0] as string))).status).toBe(204);
    // Having used it, the person may need another.
    await ask(ada.account.email, from);
    const more = (await readMails(app, ada.account.email)).filter(({ template }) => template === 'reset-password');
    expect(more).toHaveLength(4);
  });

  test('who asks from one place again and again is told to wait (SECURITY 51)', async () => {
    const from = { 'x-forwarded-for': '203.0.113.77' };
    const statuses = [];
    for (let round = 0; round < 31; round += 1) {
      statuses.push((await ask(`person${round}@moreno.example`, from)).status);
    }
    expect(statuses.slice(0, 30).every((status) => status === 202)).toBe(true);
    expect(statuses[30]).toBe(429);
  });

  test('is answered with words for what is no address', async () => {
    expect((await ask('not an address')).status).toBe(400);
    const person = createPerson(app.origin, fromElsewhere());
    const page = await person.submit(await person.open('/auth/forgot-password'), 'forgot-password', { email: 'x' });
    expect(page.status).toBe(422);
    expect(readText(page.html)).toContain('Enter an address like name@example.com.');
  });
});

test('a sign-in with the old password that meets the new one does not last', async () => {
  const token = tokenOf(await resetLink());
  const attackers = Array.from({ length: 6 }, () => createPerson(app.origin));
  await Promise.all([
    reset(token),
    ...attackers.map((each) => send('/auth/login', { email: ada.account.email, password }, each)),
  ]);
  expect(await Promise.all(attackers.map(isSignedIn))).toEqual(attackers.map(() => false));
  expect(await signInStatus(next)).toBe(200);
});

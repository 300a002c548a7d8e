/** Another address for an account: both sides agree, each link once, and strangers learn nothing (SECURITY 50, 56). */
import { and, eq, inArray } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { auditEvents, emailTokens, users } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { readLink, readMails } from '../support/mailbox.ts';
import { createPerson, type Person, readText } from '../support/person.ts';
import { password, registerAccount } from '../support/relying-party.ts';
import { type SignedIn, signedInPerson } from './protocol.ts';

let app: TestApp;
let ada: SignedIn;
let wanted: string;
let people = 0;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
});
beforeEach(async () => {
  people += 1;
  wanted = `new${people}@tidewater.example`;
  ada = await signedInPerson(app);
  await app.database.db.update(users).set({ emailVerified: true }).where(eq(users.id, ada.account.sub));
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(() => app.close());

function send(path: string, body: object, who: Pick<Person, 'request'> = createPerson(app.origin)) {
  const headers = { 'content-type': 'application/json', 'x-forwarded-for': `198.51.100.${people}` };
  return who.request(path, { method: 'POST', body: JSON.stringify(body), headers });
}
const start = (email = wanted, secret = password) => send('/account/email', { email, password: secret }, ada.person);
const tokenOf = (link: string) => new URL(link).searchParams.get('token') ?? '';
const answer = (link: string, decision = 'agree') => send('/auth/change-email', { token: tokenOf(link), decision });
const statusOf = async (response: Response) => ((await response.json()) as { status?: string; error?: string }).status;
const newLink = () => readLink(app, wanted, 'change-email-new');
const oldLink = () => readLink(app, ada.account.email, 'change-email-old');
const undoLink = async () => {
  const mails = await readMails(app, ada.account.email);
  return mails.flatMap(({ links }) => links).find((link) => link.includes('/auth/change-email')) as string;
};
const row = async () => {
  const [account] = await app.database.db.select().from(users).where(eq(users.id, ada.account.sub));
  return { email: account?.email, verified: account?.emailVerified, hash: account?.passwordHash };
};
const links = () =>
  app.database.db
    .select()
    .from(emailTokens)
    .where(
      and(
        eq(emailTokens.accountId, ada.account.sub),
        inArray(emailTokens.purpose, ['change-new', 'change-old', 'reset']),
      ),
    );
const signInStatus = async (email: string, secret = password) =>
  (await send('/auth/login', { email, password: secret })).status;

describe('a change of address', () => {
  test('is made on a page, agreed to from two mails, and told', async () => {
    const page = await ada.person.open('/account/email');
    const fields = { email: wanted, password };
    const waiting = await ada.person.submit(page, 'email-change', fields, 'email-change-submit');
    expect(readText(waiting.html)).toContain(`Your address becomes ${wanted} once everybody asked has agreed.`);
    expect((await row()).email).toBe(ada.account.email);
    // In whichever browser the mail is read.
    const reader = createPerson(app.origin);
    const first = await reader.submit(await reader.open(await newLink()), 'change-email', {}, 'change-email-submit');
    expect(readText(first.html)).toContain(`once ${ada.account.email} agrees, too`);
    expect((await row()).email).toBe(ada.account.email);
    const second = await reader.submit(await reader.open(await oldLink()), 'change-email', {}, 'change-email-submit');
    expect(readText(second.html)).toContain('Your address is changed');
    expect(await row()).toMatchObject({ email: wanted, verified: true });
    expect([await signInStatus(wanted), await signInStatus(ada.account.email)]).toEqual([200, 401]);
    expect((await readMails(app, ada.account.email))[0]?.subject).toBe('Your email address was changed');
    const events = await app.database.db.select().from(auditEvents).where(eq(auditEvents.accountId, ada.account.sub));
    expect(events.map(({ event }) => event)).toEqual(
      expect.arrayContaining(['email.change-requested', 'email.changed']),
    );
    expect(JSON.stringify(events)).not.toContain(wanted);
  });

  test.each([
    ['new', 'old'],
    ['old', 'new'],
  ])('needs both, %s first and then %s, each once', async (first, second) => {
    await start();
    const byName: Record<string, string> = { new: await newLink(), old: await oldLink() };
    expect(await statusOf(await answer(byName[first] as string))).toBe('agreed');
    expect((await answer(byName[first] as string)).status).toBe(400);
    expect((await row()).email).toBe(ada.account.email);
    expect(await statusOf(await answer(byName[second] as string))).toBe('changed');
    expect((await row()).email).toBe(wanted);
    expect((await answer(byName[second] as string)).status).toBe(400);
  });

  test('both answers at once, several times each, change it once', async () => {
    await start();
    const both = [await newLink(), await oldLink()];
    const answers = await Promise.all([...both, ...both, ...both, ...both].map((link) => answer(link)));
    const outcomes = await Promise.all(answers.map(statusOf));
    expect(outcomes.filter(Boolean).toSorted()).toEqual(['agreed', 'changed']);
    expect((await row()).email).toBe(wanted);
    expect(await links()).toEqual([]);
  });

  test('asks for the password (SECURITY 56)', async () => {
    expect((await start(wanted, 'not it')).status).toBe(401);
    expect((await send('/account/email', { email: wanted }, ada.person)).status).toBe(400);
    expect(await links()).toEqual([]);
  });

  test('asks for a sign-in of the last minutes (SECURITY 56)', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 11 * 60_000);
    const refused = await start();
    expect([refused.status, await refused.json()]).toMatchObject([401, { error: 'recent_sign_in_required' }]);
    expect((await ada.person.request('/account/email')).headers.get('location')).toContain('/auth/confirm?');
    expect(await links()).toEqual([]);
  });

  test('does nothing by a link that is only looked at', async () => {
    await start();
    for (const link of [await newLink(), await oldLink()]) {
      for (let look = 0; look < 2; look += 1) {
        expect((await createPerson(app.origin).open(link)).html).toContain('id="change-email"');
      }
    }
    expect((await row()).email).toBe(ada.account.email);
  });

  test('runs out after a day, one side agreed or not', async () => {
    await start();
    const [fresh, old] = [await newLink(), await oldLink()];
    expect(await statusOf(await answer(old))).toBe('agreed');
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 24 * 60 * 60_000);
    expect((await answer(fresh)).status).toBe(400);
    expect((await row()).email).toBe(ada.account.email);
  });

  test('ends when another one is asked for', async () => {
    await start();
    const earlier = [await newLink(), await oldLink()];
    const other = `other${people}@tidewater.example`;
    expect((await start(other)).status).toBe(202);
    for (const link of earlier) expect((await answer(link)).status).toBe(400);
    await answer(await readLink(app, other, 'change-email-new'));
    await answer(await oldLink());
    expect((await row()).email).toBe(other);
  });

  test('ends with a new password: whoever asked for it may have had the old one', async () => {
    await start();
    const change = { current_password: password, new_password: 'kestrel over tidewater' };
    expect((await send('/account/password', change, ada.person)).status).toBe(204);
    for (const link of [await newLink(), await oldLink()]) expect((await answer(link)).status).toBe(400);
    expect((await row()).email).toBe(ada.account.email);
  });

  test('of an account whose address nobody proved needs the new one alone, and tells the other nothing', async () => {
    await app.database.db.update(users).set({ emailVerified: false }).where(eq(users.id, ada.account.sub));
    const before = (await readMails(app, ada.account.email)).length;
    await start();
    expect(await statusOf(await answer(await newLink()))).toBe('changed');
    expect(await row()).toMatchObject({ email: wanted, verified: true });
    expect(await readMails(app, ada.account.email)).toHaveLength(before);
  });

  test('ends links to a new password that went to the address before', async () => {
    await send('/auth/forgot-password', { email: ada.account.email });
    const token = tokenOf(await readLink(app, ada.account.email, 'reset-password'));
    await start();
    await answer(await newLink());
    await answer(await oldLink());
    expect((await send('/auth/reset-password', { token, password: 'kestrel over tidewater' })).status).toBe(400);
  });
});

describe('a person who did not ask for it', () => {
  test('stops it from the present address', async () => {
    await start();
    const [fresh, old] = [await newLink(), await oldLink()];
    await answer(fresh);
    const reader = createPerson(app.origin);
    const done = await reader.submit(await reader.open(old), 'change-email', {}, 'change-email-stop');
    expect(readText(done.html)).toContain('Your address stays as it is');
    for (const link of [fresh, old]) expect((await answer(link)).status).toBe(400);
    expect((await row()).email).toBe(ada.account.email);
  });

  test('stops it on the account’s page', async () => {
    await start();
    const page = await ada.person.open('/account/email');
    const done = await ada.person.submit(page, 'email-cancel', {}, 'email-cancel-submit');
    expect(readText(done.html)).toContain('Your address stays as it is.');
    for (const link of [await newLink(), await oldLink()]) expect((await answer(link)).status).toBe(400);
  });

  test('takes it back within a week, which ends every session and the password', async () => {
    await start();
    await answer(await newLink());
    await answer(await oldLink());
    const link = await undoLink();
    await send('/auth/forgot-password', { email: wanted });
    const theirs = tokenOf(await readLink(app, wanted, 'reset-password'));
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 6 * 24 * 60 * 60_000);
    const reader = createPerson(app.origin);
    const done = await reader.submit(await reader.open(link), 'change-email', {}, 'change-email-submit');
    expect(readText(done.html)).toContain('You have your address back');
    expect(await row()).toMatchObject({ email: ada.account.email, verified: true, hash: null });
    expect((await ada.person.request('/account')).status).toBe(303);
    expect(await signInStatus(ada.account.email)).toBe(401);
    expect((await send('/auth/reset-password', { token: theirs, password: 'kestrel over tidewater' })).status).toBe(
      400,
    );
    const href = /href="(\/auth\/reset-password[^"]*)"/.exec(done.html)?.[1] ?? '';
    await reader.submit(await reader.open(href), 'new-password', { password: 'kestrel over tidewater' });
    expect(await signInStatus(ada.account.email, 'kestrel over tidewater')).toBe(200);
    expect((await answer(link)).status).toBe(400);
  });

  test('cannot take it back later', async () => {
    await start();
    await answer(await newLink());
    await answer(await oldLink());
    const link = await undoLink();
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 7 * 24 * 60 * 60_000 + 1000);
    expect((await answer(link)).status).toBe(400);
    expect((await row()).email).toBe(wanted);
  });
});

describe('an address that has an account', () => {
  test('is not told to whoever asks; its own mailbox is (SECURITY 50)', async () => {
    const bob = await registerAccount(app);
    const [taken, free] = [await start(bob.email), await start()];
    expect([taken.status, await taken.text()]).toEqual([free.status, await free.text()]);
    await start(bob.email);
    expect((await readMails(app, bob.email))[0]?.template).toBe('change-email-taken');
    expect(await statusOf(await answer(await oldLink()))).toBe('agreed');
    expect((await row()).email).toBe(ada.account.email);
  });

  test('since a moment ago makes the change impossible, and nobody loses theirs', async () => {
    await start();
    await answer(await oldLink());
    const bob = await registerAccount(app, { email: wanted });
    const refused = await answer(await newLink());
    expect([refused.status, ((await refused.json()) as { error: string }).error]).toEqual([409, 'change_impossible']);
    expect((await row()).email).toBe(ada.account.email);
    expect(await signInStatus(bob.email)).toBe(200);
  });

  test('cannot be taken by two at once', async () => {
    const bob = await signedInPerson(app);
    await start();
    const mine = await newLink();
    await answer(await oldLink());
    await app.database.db.update(users).set({ emailVerified: false }).where(eq(users.id, bob.account.sub));
    await send('/account/email', { email: wanted, password }, bob.person);
    const his = await newLink();
    const outcomes = await Promise.all([answer(mine), answer(his)]);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual([200, 409]);
  });
});

test('mails cannot be had again and again (SECURITY 51)', async () => {
  const statuses = [];
  for (let round = 0; round < 4; round += 1) statuses.push((await start(`${round}.${wanted}`)).status);
  expect(statuses).toEqual([202, 202, 202, 429]);
});

test('a link of another kind, or of nobody, is none', async () => {
  await send('/auth/forgot-password', { email: ada.account.email });
  const reset = await readLink(app, ada.account.email, 'reset-password');
  expect((await answer(reset)).status).toBe(400);
  for (const token of ['', 7, null, 'x'.repeat(43)]) {
    expect((await send('/auth/change-email', { token, decision: 'agree' })).status).toBe(400);
  }
  await start();
  const crossed = { token: tokenOf(await newLink()), password: 'kestrel over tidewater' };
  expect((await send('/auth/reset-password', crossed)).status).toBe(400);
});

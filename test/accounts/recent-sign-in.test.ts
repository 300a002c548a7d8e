/** Sensitive pages and changes ask a person again who they are, when the sign-in is not of the last minutes. */
import { and, eq, isNull } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { listAttempts } from '../../src/accounts/account-attempts.ts';
import { auditEvents, oidcSessions } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createStranger, type Person, readText } from '../support/person.ts';
import { password, registerAccount, signIn } from '../support/relying-party.ts';
import { setUpTwoStep } from '../support/two-step-person.ts';

let app: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  // Each browser has an address of its own, so that the limits per address do not take part.
  app = await startApp({ env: { TRUST_PROXY: '1' } });
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

const newPerson = () => createStranger(app);

async function signedIn(): Promise<Person> {
  ada = await registerAccount(app);
  const person = newPerson();
  await signIn(person, await person.open('/auth/login'), ada);
  // The session in which the account was made.
  await person.request('/account/sessions/end-others', form());
  return person;
}

function pass(minutes: number): void {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(Date.now() + minutes * 60_000);
}

const form = (body: Record<string, string> = {}, headers: Record<string, string> = {}) => ({
  method: 'POST',
  body: new URLSearchParams(body),
  headers,
});
const session = () =>
  app.database.db
    .select()
    .from(oidcSessions)
    .where(and(eq(oidcSessions.accountId, ada.sub), isNull(oidcSessions.endedAt)));
const cookieOf = (person: Person) => person.jar.get('latchkey_session /')?.value;

describe('after ten minutes', () => {
  test('a sensitive page asks for the password first and comes back, in the same session under a new id (SECURITY 31, 56)', async () => {
    const person = await signedIn();
    pass(9);
    expect((await person.open('/account/deletion')).html).toContain('id="deletion"');
    pass(2);
    const asked = await person.open('/account/deletion');
    expect([asked.status, readText(asked.html)]).toEqual([200, expect.stringContaining('Confirm it’s you')]);
    expect(asked.html).not.toContain('Nothing was changed yet');
    const [before] = await session();
    const cookie = cookieOf(person);
    const page = await person.submit(asked, 'confirm', { password }, 'confirm-submit');
    expect(page.url).toBe(`${app.origin}/account/deletion`);
    expect(page.html).toContain('id="deletion"');
    expect(cookieOf(person)).not.toBe(cookie);
    const after = await session();
    expect(after).toMatchObject([{ uid: before?.uid }]);
    expect(after[0]?.loginTs).toBeGreaterThan(before?.loginTs ?? 0);
    const old = newPerson();
    for (const [name, kept] of person.jar) old.jar.set(name, kept);
    old.jar.set('latchkey_session /', { value: cookie ?? '', path: '/' });
    expect((await old.request('/account')).status).toBe(303);
    const events = await app.database.db.select().from(auditEvents).where(eq(auditEvents.accountId, ada.sub));
    expect(events.map(({ event }) => event)).toContain('login.confirmed');
  });

  test('a form is not done, says so, and leads back to its page alone', async () => {
    const person = await signedIn();
    pass(11);
    const asked = await person.open(
      '/account/deletion',
      form({}, { referer: `${app.origin}/account/deletion`, 'sec-fetch-site': 'same-origin' }),
    );
    expect(readText(asked.html)).toContain('Nothing was changed yet.');
    const page = await person.submit(asked, 'confirm', { password }, 'confirm-submit');
    expect([page.url, page.html.includes('id="deletion"')]).toEqual([`${app.origin}/account/deletion`, true]);
    pass(11);
    for (const referer of ['https://evil.example/account', `${app.origin}/oidc/auth?x`, '/account', 'http://x//evil']) {
      const answer = await person.request('/account/deletion', form({}, { referer }));
      expect([answer.status, answer.headers.get('location')]).toEqual([
        303,
        '/auth/confirm?return_to=%2Faccount&unsent=yes',
      ]);
    }
  });

  test('a program is told so', async () => {
    const person = await signedIn();
    pass(11);
    const json = { 'content-type': 'application/json', accept: 'application/json' };
    const send = (path: string, body: object) =>
      person.request(path, { method: 'POST', body: JSON.stringify(body), headers: json });
    const refused = await send('/account/deletion', {});
    expect([refused.status, await refused.json()]).toMatchObject([401, { error: 'recent_sign_in_required' }]);
    expect((await person.request('/account/data.json', { headers: json })).status).toBe(401);
    const wrong = await send('/auth/confirm', { password: 'not this one' });
    expect([wrong.status, await wrong.json()]).toMatchObject([401, { error: 'invalid_credentials' }]);
    expect((await send('/auth/confirm', {})).status).toBe(400);
    expect((await send('/auth/confirm', { password })).status).toBe(204);
    expect((await person.request('/account/data.json', { headers: json })).status).toBe(200);
  });

  test('a wrong password changes nothing', async () => {
    const person = await signedIn();
    pass(11);
    const cookie = cookieOf(person);
    for (const typed of ['not this one', '', 'x'.repeat(2000)]) {
      const asked = await person.open('/account/deletion');
      const again = await person.submit(asked, 'confirm', { password: typed }, 'confirm-submit');
      expect([again.status, again.html.includes('role="alert"')]).toEqual([422, true]);
      expect(again.html).toContain('name="return_to" value="/account/deletion"');
      expect(again.html).not.toContain('not this one');
    }
    expect(cookieOf(person)).toBe(cookie);
    expect((await person.open('/account/deletion')).html).toContain('id="confirm"');
  });
});

test('where two-step verification is on a code is asked for, once, and the password will not do', async () => {
  const person = await signedIn();
  const { code } = await setUpTwoStep(app, person, ada);
  pass(11);
  const asked = await person.open('/account/deletion');
  expect((await person.request('/auth/confirm', form({ password }))).status).toBe(422);
  expect((await person.open('/account/deletion')).html).toContain('id="confirm"');
  const page = asked;
  expect(page.html).toMatch(/id="code"[^>]*autocomplete="one-time-code"/);
  const wrong = await person.submit(page, 'confirm', { code: '000000' }, 'confirm-submit');
  expect([wrong.status, wrong.html.includes('id="code"'), wrong.html.includes('id="password"')]).toEqual([
    422,
    true,
    false,
  ]);
  const typed = await code();
  const done = await person.submit(wrong, 'confirm', { code: typed }, 'confirm-submit');
  expect(done.url).toBe(`${app.origin}/account/deletion`);
  pass(11);
  expect((await person.request('/auth/confirm', form({ code: typed }))).status).toBe(422);
  expect((await person.open('/account/deletion')).html).toContain('id="confirm"');
});

test('the password of somebody else confirms nothing, and nobody confirms without a session', async () => {
  const mallory = await registerAccount(app, { password: 'mallory’s own long words' });
  const person = await signedIn();
  pass(11);
  const answer = await person.request('/auth/confirm', form({ email: mallory.email, password: mallory.password }));
  expect(answer.status).toBe(422);
  const stranger = newPerson();
  const sent = await stranger.request('/auth/confirm', form({ password }));
  expect([sent.status, sent.headers.get('location')]).toEqual([303, '/auth/login?return_to=%2Faccount']);
  expect(sent.headers.getSetCookie()).toEqual([]);
});

test('wrong passwords here and at sign-in are one count, of this browser alone (SECURITY 51, 52)', async () => {
  const person = await signedIn();
  pass(11);
  for (const path of ['/auth/login', '/auth/confirm', '/auth/confirm'])
    expect((await person.request(path, form({ email: ada.email, password: 'wrong one' }))).status).toBe(422);
  const counted = async () =>
    (await listAttempts(app.database.db, { id: ada.sub, email: ada.email })).map(({ kind, tries, fromAnywhere }) => ({
      kind,
      tries,
      fromAnywhere,
    }));
  expect(await counted()).toEqual([{ kind: 'password', tries: 3, fromAnywhere: false }]);
  expect((await person.request('/auth/confirm', form({ password }))).status).toBe(303);
  expect(await counted()).toEqual([]);
});

test('a session that ends meanwhile is not brought back (SECURITY 33)', async () => {
  const person = await signedIn();
  const owner = newPerson();
  await signIn(owner, await owner.open('/auth/login'), ada);
  pass(11);
  const confirmations = Array.from({ length: 4 }, () => person.request('/auth/confirm', form({ password })));
  const [ended] = await Promise.all([owner.request('/account/sessions/end-others', form()), ...confirmations]);
  expect(ended.status).toBe(303);
  expect((await person.request('/account')).status).toBe(303);
  expect(await session()).toHaveLength(1);
  expect((await owner.request('/account')).status).toBe(200);
});

test('where to go after is on this origin (SECURITY 7)', async () => {
  const person = await signedIn();
  for (const path of ['//evil.example', 'https://evil.example/', '/%5cevil.example', 'javascript:alert(1)']) {
    const shown = await person.request(`/auth/confirm?return_to=${encodeURIComponent(path)}`);
    expect(shown.headers.get('location')).toBe('/account');
  }
  pass(11);
  const sent = await person.request('/auth/confirm', form({ password, return_to: '//evil.example' }));
  expect(sent.headers.get('location')).toBe('/account');
});

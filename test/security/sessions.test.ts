/** The life of a session: new at every sign-in, over when it is signed out of, and never longer than promised. */
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { sha256 } from '../../src/lib/hash.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person } from '../support/person.ts';
import {
  discover,
  password,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
  signInThrough,
} from '../support/relying-party.ts';

let app: TestApp;
let rp: RelyingParty;
let ada: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  app = await startApp();
  rp = await discover(app, await registerClient(app));
  ada = await registerAccount(app);
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

const day = 24 * 60 * 60 * 1000;

/** The two cookies that make a session, as a `Cookie` header. */
function sessionCookie(person: Person): string {
  return ['latchkey_session', 'latchkey_session.sig']
    .map((name) => `${name}=${person.jar.get(`${name} /`)?.value}`)
    .join('; ');
}

/** Whether a cookie alone, in whatever hands, is somebody signed in: for our pages and for clients. */
async function opens(cookie: string): Promise<boolean> {
  const account = await fetch(`${app.origin}/account`, { headers: { cookie }, redirect: 'manual' });
  const silent = await fetch((await rp.start({ prompt: 'none' })).url, { headers: { cookie }, redirect: 'manual' });
  const forClients = new URL(silent.headers.get('location') ?? '').searchParams.get('error') !== 'login_required';
  expect([account.status === 200, forClients]).toEqual([forClients, forClients]);
  return forClients;
}

async function signedIn(): Promise<Person> {
  const person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), ada);
  return person;
}

describe('the session id (SECURITY 31)', () => {
  test('changes with every sign-in, and the one before is dead at once', async () => {
    const person = await signedIn();
    const first = sessionCookie(person);
    expect(await opens(first)).toBe(true);
    await person.request('/auth/login', { method: 'POST', body: new URLSearchParams({ email: ada.email, password }) });
    const second = sessionCookie(person);
    expect(second).not.toBe(first);
    expect([await opens(first), await opens(second)]).toEqual([false, true]);
  });

  test('changes when a client asks to sign in again', async () => {
    const { person } = await signInThrough(app, rp, ada);
    const first = sessionCookie(person);
    const page = await person.open((await rp.start({ prompt: 'login' })).url);
    expect((await signIn(person, page, ada)).left?.searchParams.get('code')).toBeTruthy();
    expect([await opens(first), await opens(sessionCookie(person))]).toEqual([false, true]);
  });

  test('changes when another account signs in, and nothing of the first is left', async () => {
    const bob = await registerAccount(app);
    const { person, tokens } = await signInThrough(app, rp, ada);
    const first = sessionCookie(person);
    await person.request('/auth/login', { method: 'POST', body: new URLSearchParams({ email: bob.email, password }) });
    expect(await opens(first)).toBe(false);
    expect((await rp.introspect(tokens.access_token)).active).toBe(false);
    const page = await person.open((await rp.start()).url);
    expect(page.html).toContain(bob.email);
    expect(page.html).not.toContain(ada.email);
  });

  test('planted by somebody before the sign-in is worth nothing after it', async () => {
    // A session that is nobody’s yet: a sign-out page of a browser without one makes it.
    const attacker = createPerson(app.origin);
    await attacker.open('/oidc/session/end');
    const planted = sessionCookie(attacker);
    expect(planted).not.toContain('undefined');
    const victim = createPerson(app.origin);
    for (const [key, cookie] of attacker.jar) victim.jar.set(key, cookie);
    await signIn(victim, await victim.open('/auth/login'), ada);
    expect([await opens(planted), await opens(sessionCookie(victim))]).toEqual([false, true]);
  });

  test('made up by somebody is not taken over', async () => {
    const victim = createPerson(app.origin);
    for (const name of ['latchkey_session', 'latchkey_session.sig']) {
      victim.jar.set(`${name} /`, { value: 'chosen-by-the-attacker', path: '/' });
    }
    await signIn(victim, await victim.open('/auth/login'), ada);
    expect(sessionCookie(victim)).not.toContain('chosen-by-the-attacker');
    expect(await opens(sessionCookie(victim))).toBe(true);
  });
});

describe('signing out (SECURITY 33)', () => {
  test.each([
    ['here', (person: Person) => person.open('/auth/logout', { method: 'POST', body: new URLSearchParams() })],
    [
      'as a client asks',
      async (person: Person) => person.submit(await person.open('/oidc/session/end'), 'logout', {}, 'logout-confirm'),
    ],
  ])('%s ends the session on the server, for every copy of the cookie and every client', async (_where, signOut) => {
    const { person, tokens } = await signInThrough(app, rp, ada);
    const copy = sessionCookie(person);
    await signOut(person);
    expect(await opens(copy)).toBe(false);
    expect(person.jar.has('latchkey_session /')).toBe(false);
    expect((await rp.introspect(tokens.access_token)).active).toBe(false);
    const id = /latchkey_session=([^;]+)/.exec(copy)?.[1] ?? '';
    const { rows } = await app.database.db.execute(
      sql`select ended_at from oidc_sessions join oidc_session_ids using (uid) where id_hash = ${sha256(id)}`,
    );
    expect(rows).toEqual([{ ended_at: expect.anything() }]);
  });

  test('ends a sign-in that a client waits for too', async () => {
    const person = createPerson(app.origin);
    const page = await person.open((await rp.start()).url);
    const body = new URLSearchParams({ email: ada.email, password });
    const answer = await person.request(`${page.url}/login`, { method: 'POST', body });
    expect((await person.request('/account')).status).toBe(200);
    await person.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
    const resumed = await person.open(answer.headers.get('location') as string);
    expect(resumed.html).toContain('This sign-in got interrupted');
    expect((await person.request('/account')).status).toBe(303);
  });

  test('ends this browser’s session alone', async () => {
    const [here, there] = [await signedIn(), await signedIn()];
    await here.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
    expect(await opens(sessionCookie(there))).toBe(true);
  });

  test('needs a hint or an answer: no link signs anybody out (SECURITY 36)', async () => {
    const { person, tokens } = await signInThrough(app, rp, ada);
    const stay = await person.open(`/oidc/session/end?id_token_hint=${tokens.id_token}&client_id=${rp.clientId}`);
    expect(stay.html).toContain('id="logout"');
    expect(await opens(sessionCookie(person))).toBe(true);
    await person.submit(stay, 'logout', {}, 'logout-stay');
    expect((await person.request('/account')).status).toBe(200);
  });
});

describe('time (SECURITY 34)', () => {
  test('a session that is not used for 14 days is over', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const person = await signedIn();
    const cookie = sessionCookie(person);
    vi.setSystemTime(Date.now() + 14 * day - 60_000);
    expect(await opens(cookie)).toBe(true);
    const idle = sessionCookie(await signedIn());
    vi.setSystemTime(Date.now() + 14 * day + 1000);
    expect(await opens(idle)).toBe(false);
  });

  test('a session that is used all the time is over 30 days after the sign-in', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const { person } = await signInThrough(app, rp, ada);
    const answer = async () => {
      const { left } = await person.open((await rp.start({ prompt: 'none' })).url);
      return left?.searchParams.get('error') ?? 'signed in';
    };
    for (let days = 0; days < 29; days += 1) {
      vi.setSystemTime(Date.now() + day);
      expect([days, await answer()]).toEqual([days, 'signed in']);
    }
    vi.setSystemTime(Date.now() + day - 60_000);
    const copy = sessionCookie(person);
    expect(await opens(copy)).toBe(true);
    vi.setSystemTime(Date.now() + 61_000);
    expect(await opens(copy)).toBe(false);
    expect(await answer()).toBe('login_required');
  });

  test('the cookie says no more than that', async () => {
    const person = createPerson(app.origin);
    const response = await person.request('/auth/login', {
      method: 'POST',
      body: new URLSearchParams({ email: ada.email, password }),
    });
    const line = response.headers.getSetCookie().find((text) => text.startsWith('latchkey_session='));
    const expires = new Date(/expires=([^;]+)/i.exec(line ?? '')?.[1] ?? '').getTime();
    expect((expires - Date.now()) / day).toBeCloseTo(14, 1);
  });
});

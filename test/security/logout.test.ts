/** An end is an end: for what was issued, for what is under way, and for everything at once. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Database } from '../../src/db/database.ts';
import { withdrawConsent } from '../../src/oidc/consents.ts';
import { endSessionsOf } from '../../src/oidc/session-end.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { enterCode, pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { createPerson, type Person, readText } from '../support/person.ts';
import { password, type Registration, registerClient, signIn } from '../support/relying-party.ts';
import {
  authorizationUrl,
  issueTokens,
  post,
  refresh,
  type SignedIn,
  signedInPerson,
  type Tokens,
  userinfoStatus,
} from './protocol.ts';

let app: TestApp;
let client: Registration;
let ada: SignedIn;

beforeAll(async () => {
  app = await startApp();
  client = await registerClient(app);
});
beforeEach(async () => {
  await app.database.db.execute(sql`delete from throttles`);
  ada = await signedInPerson(app);
});
afterAll(() => app.close());

const headers = () => ({ origin: app.origin, 'sec-fetch-site': 'same-origin' });
const isSignedIn = async (person: Person) => (await person.request('/account')).status === 200;

async function elsewhere(): Promise<SignedIn> {
  const person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), ada.account);
  return { ...ada, person };
}

/** Which of userinfo, introspection and refresh still accept the tokens. */
async function accepted({ access_token, refresh_token }: Tokens): Promise<string[]> {
  const introspection = await post(app, 'introspection', { token: access_token }, client);
  const answers: [string, boolean][] = [
    ['userinfo', (await userinfoStatus(app, access_token)) === 200],
    ['introspection', introspection.body.active === true],
    ['refresh', (await refresh(app, client, refresh_token)).status === 200],
  ];
  return answers.flatMap(([name, works]) => (works ? [name] : []));
}

describe('signing out everywhere (SECURITY 21, 33, 35)', () => {
  test('ends every session and everything that clients hold, long-lived access too', async () => {
    // Registering was one session already.
    const there = await elsewhere();
    const [offline, offlineThere] = [await issueTokens(app, client, ada), await issueTokens(app, client, there)];
    await there.person.request('/auth/logout', { method: 'POST', headers: headers() });
    // So much outlives an ordinary sign-out.
    expect(await userinfoStatus(app, offlineThere.access_token)).toBe(200);
    const third = await elsewhere();
    const page = await ada.person.submit(await ada.person.open('/account/sessions'), 'sign-out', {}, 'sign-out-submit');
    expect(page.url).toBe(`${app.origin}/`);
    expect([await isSignedIn(ada.person), await isSignedIn(third.person)]).toEqual([false, false]);
    expect(ada.person.jar.has('latchkey_session /')).toBe(false);
    expect(await accepted(offline)).toEqual([]);
    expect(await accepted(offlineThere)).toEqual([]);
    const { rows } = await app.database.db.execute(
      sql`select details, user_agent from audit_events where event = 'sessions.ended' and account_id = ${ada.account.sub}`,
    );
    expect(rows).toEqual([{ details: { sessions: 3, logouts: 0 }, user_agent: expect.any(String) }]);
  });

  test('is asked of somebody signed in, and ends nothing of anybody else', async () => {
    const bob = await signedInPerson(app);
    const stranger = createPerson(app.origin);
    const asForm = await stranger.request('/account/sign-out', {
      method: 'POST',
      headers: headers(),
      body: new URLSearchParams(),
    });
    expect(asForm.headers.get('location')).toBe('/auth/login?return_to=%2Faccount');
    const json = { 'content-type': 'application/json' };
    const asJson = await stranger.request('/account/sign-out', { method: 'POST', headers: json, body: '{}' });
    expect([asJson.status, await asJson.json()]).toMatchObject([401, { error: 'login_required' }]);
    const done = await ada.person.request('/account/sign-out', { method: 'POST', headers: json, body: '{}' });
    expect([done.status, await isSignedIn(ada.person), await isSignedIn(bob.person)]).toEqual([204, false, true]);
  });

  test('lets the person in again, and remembers what was allowed', async () => {
    await issueTokens(app, client, ada, { scope: 'openid profile' });
    await ada.person.request('/account/sign-out', { method: 'POST', headers: headers() });
    await signIn(ada.person, await ada.person.open('/auth/login'), ada.account);
    const tokens = await issueTokens(app, client, ada, { scope: 'openid profile', prompt: 'none' });
    expect(await userinfoStatus(app, tokens.access_token)).toBe(200);
  });
});

/** Runs `change` in a transaction that is still open while `request` is made and has come as far as to wait for it. */
async function meanwhile<T>(change: (tx: Database) => Promise<unknown>, request: () => Promise<T>): Promise<T> {
  let answer: Promise<T> | undefined;
  await app.database.db.transaction(async (tx) => {
    await change(tx);
    answer = request();
    answer.catch(() => {});
    const waiting = sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    while ((await app.database.db.execute(waiting)).rows.length === 0);
  });
  return answer as Promise<T>;
}

describe('a request that is under way when the end comes (SECURITY 21, 33)', () => {
  const offline = { scope: 'openid offline_access', prompt: 'consent' };

  test('gets no code for a session that ends just then', async () => {
    await issueTokens(app, client, ada, offline);
    const url = authorizationUrl(app, client, { scope: 'openid offline_access' });
    const page = await meanwhile(
      (tx) => endSessionsOf(tx, ada.account.sub),
      () => ada.person.open(url),
    );
    expect([page.status, page.left]).toEqual([400, undefined]);
    expect(readText(page.html)).toContain('This sign-in got interrupted');
    expect(await isSignedIn(ada.person)).toBe(false);
    const { rows } = await app.database.db.execute(
      sql`select model from oidc_grants where account_id = ${ada.account.sub}`,
    );
    expect(rows).toEqual([]);
  });

  test('connects no device in a session that ends just then', async () => {
    const tv = await registerDevice(app, {}, { firstParty: true });
    const device = await startDevice(app, tv);
    const confirm = await enterCode(ada.person, device.user_code);
    const page = await meanwhile(
      (tx) => endSessionsOf(tx, ada.account.sub),
      () => ada.person.submit(confirm, 'device-confirm', {}, 'device-approve'),
    );
    expect(readText(page.html)).not.toContain('Your device is connected');
    expect(await pollOnce(app, tv, device)).toMatchObject({ error: 'authorization_pending' });
  });

  test('asks for the consent again that is withdrawn just then', async () => {
    await issueTokens(app, client, ada, { scope: 'openid profile' });
    const there = await elsewhere();
    const page = await meanwhile(
      (tx) => withdrawConsent(tx, ada.account.sub, client.client_id),
      () => there.person.open(authorizationUrl(app, client, { scope: 'openid profile' })),
    );
    expect([page.left, page.html.includes('id="consent"')]).toEqual([undefined, true]);
  });

  test('does not sign in with the password that is changed just then', async () => {
    const change = async (tx: Database) => {
      await tx.execute(sql`update users set password_hash = 'another' where id = ${ada.account.sub}`);
      await endSessionsOf(tx, ada.account.sub);
    };
    const thief = createPerson(app.origin);
    const body = new URLSearchParams({ email: ada.account.email, password });
    const answer = await meanwhile(change, () => thief.request('/auth/login', { method: 'POST', body }));
    expect(answer.status).toBe(422);
    expect(readText(await answer.text())).toContain('the account changed meanwhile');
    expect(thief.jar.has('latchkey_session /')).toBe(false);
    const { rows } = await app.database.db.execute(
      sql`select uid from oidc_sessions where account_id = ${ada.account.sub} and ended_at is null`,
    );
    expect(rows).toEqual([]);
  });

  test('does not sign in at a client with it either, nor to an account that is suspended just then', async () => {
    const change = (tx: Database) =>
      tx.execute(sql`update users set suspended_at = now() where id = ${ada.account.sub}`);
    const person = createPerson(app.origin);
    const page = await person.open(authorizationUrl(app, client));
    const after = await meanwhile(change, () => signIn(person, page, ada.account));
    expect([after.status, after.left]).toEqual([422, undefined]);
    expect(person.jar.has('latchkey_session /')).toBe(false);
  });
});

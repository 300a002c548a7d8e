/** What happens is in the audit log, with whose it was and from where, and nothing in it opens anything (SECURITY 57). */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { chainEvents } from '../../src/audit/chain.ts';
import { verifyChain } from '../../src/audit/verify.ts';
import { loadAuditKey } from '../../src/keys/audit-key.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { startApp, type TestApp, testSecrets } from '../support/app.ts';
import { createPerson } from '../support/person.ts';
import {
  allow,
  password,
  type Registration,
  registerAccount,
  registerClient,
  signIn,
} from '../support/relying-party.ts';
import {
  authorizationUrl,
  issueCode,
  issueTokens,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  userinfoStatus,
} from './protocol.ts';

let app: TestApp;
let client: Registration;
let ada: SignedIn;
let since: number;

beforeAll(async () => {
  app = await startApp({ env: { REFRESH_TOKEN_LEEWAY: '0' } });
  client = await registerClient(app);
});
beforeEach(async () => {
  ada = await signedInPerson(app);
  const { rows } = await app.database.db.execute<{ last: number }>(sql`select max(id)::int as last from audit_events`);
  since = rows[0]?.last ?? 0;
});
afterAll(() => app.close());

type Row = { event: string; outcome: string; account_id: string | null; details: Record<string, unknown> };

/** What was recorded since the test began. */
async function recorded(): Promise<Row[]> {
  const { rows } = await app.database.db.execute<Row>(sql`select * from audit_events where id > ${since} order by id`);
  return rows;
}

const names = async () => (await recorded()).map(({ event }) => event);
const ownForm = () => ({ origin: app.origin, 'sec-fetch-site': 'same-origin' });

function post(path: string, fields: Record<string, string>, person = ada.person): Promise<Response> {
  return person.request(path, { method: 'POST', body: new URLSearchParams(fields), headers: ownForm() });
}

function submitPassword(email: string, typed: string): Promise<Response> {
  return fetch(`${app.origin}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'user-agent': 'Safe/1.0' },
    body: JSON.stringify({ email, password: typed }),
  });
}

describe('signing in and out', () => {
  test('tells who, with what, from where, in which session', async () => {
    const response = await submitPassword(ada.account.email, password);
    const { rows } = await app.database.db.execute<{ uid: string }>(
      sql`select uid from oidc_sessions where account_id = ${ada.account.sub} order by created_at desc limit 1`,
    );
    expect(await recorded()).toMatchObject([
      {
        event: 'login.succeeded',
        outcome: 'success',
        account_id: ada.account.sub,
        session_uid: rows[0]?.uid,
        address: '127.0.0.1',
        user_agent: 'Safe/1.0',
        request_id: response.headers.get('x-request-id'),
        details: { amr: ['pwd'] },
      },
    ]);
  });

  test('by a client says so as well, and consent and its end are there', async () => {
    const person = createPerson(app.origin);
    const asked = await signIn(
      person,
      await person.open(authorizationUrl(app, client, { scope: 'openid email profile' })),
      ada.account,
    );
    await allow(person, asked, ['email']);
    const again = await person.open(authorizationUrl(app, client, { scope: 'openid email', prompt: 'consent' }));
    await person.submit(again, 'consent', {}, 'consent-deny');
    await post(`/account/apps/${client.client_id}/disconnection`, {}, person);
    await post(`/account/apps/${client.client_id}/disconnection`, {}, person);
    const about = { account_id: ada.account.sub, client_id: client.client_id, address: '127.0.0.1' };
    expect((await recorded()).filter(({ event }) => event !== 'login.succeeded')).toMatchObject([
      { event: 'consent.granted', ...about, details: { granted: expect.arrayContaining(['openid', 'email']) } },
      { event: 'consent.refused', ...about },
      { event: 'consent.withdrawn', ...about },
    ]);
  });

  test.each([
    ['here', async () => void (await post('/auth/logout', {}))],
    [
      'at a client',
      async () => {
        const page = await ada.person.open('/oidc/session/end');
        await ada.person.submit(page, 'logout', {}, 'logout-confirm');
      },
    ],
  ])('and out %s, once', async (_where, signOut) => {
    await signOut();
    await post('/auth/logout', {});
    expect(await recorded()).toMatchObject([
      {
        event: 'session.ended',
        account_id: ada.account.sub,
        address: '127.0.0.1',
        request_id: expect.stringMatching(/^req_/),
      },
    ]);
  });

  test('with a wrong password is a failure; of an address without an account only a keyed digest stays', async () => {
    const nobody = 'Nobody.Here@moreno.example';
    await submitPassword(ada.account.email, 'tram window salt organ');
    await submitPassword(nobody, 'tram window salt organ');
    await submitPassword(nobody.toLowerCase(), 'tram window salt piano');
    await submitPassword('other@moreno.example', 'tram window salt piano');
    const events = await recorded();
    expect(events.map(({ event, outcome, account_id }) => [event, outcome, account_id])).toEqual([
      ['login.failed', 'failure', ada.account.sub],
      ...Array(3).fill(['login.failed', 'failure', null]),
    ]);
    const digests = events.map(({ details }) => details.address_digest);
    expect(digests).toEqual([undefined, expect.stringMatching(/^[\w-]{22}$/), digests[1], expect.any(String)]);
    expect(digests[3]).not.toBe(digests[1]);
    expect(JSON.stringify(events).toLowerCase()).not.toContain('moreno.example');
    expect(JSON.stringify(events)).not.toContain('tram window');
  });
});

test('a code that comes again is in the log once, and with it goes all that came of it (SECURITY 11)', async () => {
  const issued = await issueCode(app, client, ada, { scope: 'openid profile offline_access', prompt: 'consent' });
  const { body } = await redeem(app, client, issued);
  const before = (await recorded()).length;
  const replays = await Promise.all(Array.from({ length: 8 }, () => redeem(app, client, issued)));
  expect(replays.map(({ status }) => status)).toEqual(Array(8).fill(400));
  expect((await recorded()).slice(before)).toMatchObject([
    {
      event: 'code.reused',
      outcome: 'failure',
      account_id: ada.account.sub,
      client_id: client.client_id,
      request_id: expect.stringMatching(/^req_/),
      details: { grant_type: 'authorization_code' },
    },
  ]);
  expect(await userinfoStatus(app, String(body.access_token))).toBe(401);
});

test('whoever signs in where another was signed in ends that session', async () => {
  const eve = await registerAccount(app);
  await signIn(ada.person, await ada.person.open(authorizationUrl(app, client, { prompt: 'login' })), eve);
  expect(await recorded()).toMatchObject(
    [
      ['account.registered', eve.sub],
      ['login.succeeded', eve.sub],
      ['session.ended', ada.account.sub],
      ['login.succeeded', eve.sub],
    ].map(([event, account_id]) => ({ event, account_id })),
  );
});

test('a change of the profile names the fields and not what is in them; without a change there is no event', async () => {
  await post('/account/profile', { name: ada.account.name, nickname: 'Lovelace' });
  const events = await recorded();
  expect(events).toMatchObject([{ event: 'account.changed', account_id: ada.account.sub, details: {} }]);
  expect(events[0]?.details.changed).toContain('nickname');
  expect(JSON.stringify(events)).not.toContain('Lovelace');
  await post('/account/profile', { name: ada.account.name, nickname: 'Lovelace' });
  expect(await names()).toHaveLength(1);
});

test('who makes an account is in the log', async () => {
  const { sub } = await registerAccount(app);
  expect(await recorded()).toMatchObject([
    { event: 'account.registered', account_id: sub, address: '127.0.0.1' },
    { event: 'login.succeeded', account_id: sub },
  ]);
});

test('a sign-in that cannot be recorded does not happen', async () => {
  const { db } = app.database;
  await db.execute(sql`alter table audit_events add constraint full_disk check (event <> 'login.succeeded') not valid`);
  try {
    const response = await submitPassword(ada.account.email, password);
    expect([
      response.status,
      response.headers.getSetCookie().filter((line) => line.startsWith('latchkey_session=')),
    ]).toEqual([500, []]);
  } finally {
    await db.execute(sql`alter table audit_events drop constraint full_disk`);
    app.log.length = 0;
  }
});

test('the chain is whole after all that, eight at once too, and nothing in it opens anything (SECURITY 57)', async () => {
  const tokens = await issueTokens(app, client, ada);
  const { body } = await refresh(app, client, tokens.refresh_token);
  await refresh(app, client, tokens.refresh_token);
  await Promise.all(
    Array.from({ length: 8 }, async (_, index) => {
      const eve = await signedInPerson(app);
      await submitPassword(eve.account.email, index % 2 ? password : 'tram window salt organ');
      await post('/account/sign-out', {}, eve.person);
    }),
  );
  const { db } = app.database;
  const key = await loadAuditKey(db, createEncryption([Buffer.from(testSecrets.OIDC_ENCRYPTION_KEY, 'base64')]));
  // The server does so by itself within seconds; the two may meet.
  for (let waiting = 1; waiting > 0; ) {
    await chainEvents(db, key);
    waiting = (await verifyChain(db, key)).waiting.count;
  }
  const { rows } = await db.execute<{ count: number }>(sql`select count(*)::int as count from audit_events`);
  expect(await verifyChain(db, key)).toMatchObject({ checked: rows[0]?.count, broken: undefined });
  expect(await names()).toEqual(
    expect.arrayContaining([
      'consent.granted',
      'refresh-token.reused',
      'login.succeeded',
      'login.failed',
      'sessions.ended',
    ]),
  );

  const all = JSON.stringify((await db.execute(sql`select * from audit_events`)).rows);
  const secrets = [
    ...[password, client.client_secret, client.registration_access_token, String(body.refresh_token)],
    ...Object.values(tokens),
    ...[...ada.person.jar.values()].flatMap(({ value }) => value.split(/[~.]/)),
  ].filter((secret) => typeof secret === 'string' && secret.length >= 8);
  expect(secrets.length).toBeGreaterThan(6);
  expect(secrets.filter((secret) => all.includes(String(secret)))).toEqual([]);
  // Wherever an account is meant it is by its sub.
  expect(all).not.toContain('moreno.example');
});

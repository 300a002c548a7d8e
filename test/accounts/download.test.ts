/** A person takes a copy of what is stored about them: all of it, and nothing that opens anything. */
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditEvents, oidcSessionIds, oidcSessions, passkeys, recoveryCodes, users } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person } from '../support/person.ts';
import { discover, registerAccount, registerClient, signIn, signInThrough } from '../support/relying-party.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

async function newPerson(): Promise<{ person: Person; account: Awaited<ReturnType<typeof registerAccount>> }> {
  const account = await registerAccount(app);
  const person = createPerson(app.origin, { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0' });
  await signIn(person, await person.open('/auth/login'), account);
  return { person, account };
}

const form = (body: Record<string, string>) => ({ method: 'POST', body: new URLSearchParams(body) });

test('one file holds profile, ways to sign in, sessions, apps and activity', async () => {
  const { person, account } = await newPerson();
  await person.request(
    '/account/profile',
    form({ nickname: 'A', locality: 'Lisboa', phone_number: '+351 21 000 0000' }),
  );
  const client = await registerClient(app);
  await signInThrough(app, await discover(app, client), account, { person, scopes: ['profile'] });
  await app.database.db.insert(passkeys).values({
    credentialId: 'credential-1',
    accountId: account.sub,
    publicKey: Buffer.from('public'),
    counter: 0,
    deviceType: 'multiDevice',
    backedUp: true,
    name: 'My phone',
  });
  const response = await person.request('/account/data.json');
  expect([response.status, response.headers.get('content-disposition'), response.headers.get('cache-control')]).toEqual(
    [200, 'attachment; filename=account.json', 'no-store'],
  );
  const data = (await response.json()) as { sessions: { user_agent: string }[]; activity: { event: string }[] };
  expect(data).toMatchObject({
    profile: { sub: account.sub, email: account.email, nickname: 'A', address: { locality: 'Lisboa' } },
    sign_in: {
      password: true,
      two_step_since: null,
      recovery_codes_left: 0,
      passkeys: [{ name: 'My phone', backed_up: true }],
    },
    connected_apps: [{ client_id: client.client_id, granted: { scopes: expect.arrayContaining(['profile']) } }],
  });
  expect(data.sessions.map((each) => each.user_agent)).toContain('Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0');
  expect(data.activity.map(({ event }) => event)).toEqual(
    expect.arrayContaining(['account.changed', 'account.exported']),
  );
});

test('nothing in it is a secret or leads to one (SECURITY 57)', async () => {
  const { person, account } = await newPerson();
  const { db } = app.database;
  await db.insert(recoveryCodes).values({ codeHash: 'hash-of-a-code', accountId: account.sub });
  const { tokens } = await signInThrough(app, await discover(app, await registerClient(app)), account, { person });
  const text = await (await person.request('/account/data.json')).text();
  const [user] = await db.select().from(users).where(eq(users.id, account.sub));
  const sessions = await db
    .select()
    .from(oidcSessions)
    .innerJoin(oidcSessionIds, eq(oidcSessionIds.uid, oidcSessions.uid))
    .where(eq(oidcSessions.accountId, account.sub));
  const secrets = [
    user?.passwordHash,
    account.password,
    tokens.access_token,
    tokens.id_token,
    'hash-of-a-code',
    ...sessions.flatMap((row) => [row.oidc_sessions.uid, row.oidc_session_ids.idHash]),
    ...[...person.jar.values()].map(({ value }) => value),
  ];
  expect(secrets.length).toBeGreaterThan(8);
  for (const secret of secrets) expect(text).not.toContain(secret);
});

test('is one’s own, and recorded', async () => {
  const { account } = await newPerson();
  const { person: mallory, account: own } = await newPerson();
  const text = await (await mallory.request('/account/data.json')).text();
  expect([text.includes(own.email), text.includes(account.email), text.includes(account.sub)]).toEqual([
    true,
    false,
    false,
  ]);
  const stranger = createPerson(app.origin);
  expect((await stranger.request('/account/data.json')).headers.get('location')).toMatch(/^\/auth\/login/);
  const events = await app.database.db.select().from(auditEvents).where(eq(auditEvents.accountId, own.sub));
  expect(events.map(({ event }) => event)).toContain('account.exported');
});

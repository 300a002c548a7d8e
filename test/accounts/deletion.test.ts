/** Leaving: at once nobody is signed in, for two weeks signing in takes it back, and then nothing is left. */
import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { deleteDueAccounts } from '../../src/accounts/deletion.ts';
import { auditEvents, oidcGrants, oidcSessions, users } from '../../src/db/schema.ts';
import { eraseAccount } from '../../src/oidc/account-sessions.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { readMails } from '../support/mailbox.ts';
import { createStranger, type Person, readText } from '../support/person.ts';
import {
  discover,
  password,
  registerAccount,
  registerClient,
  signIn,
  signInThrough,
} from '../support/relying-party.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

type Account = Awaited<ReturnType<typeof registerAccount>>;

const browser = () => createStranger(app);

async function signedIn(account: Account): Promise<Person> {
  const person = browser();
  await signIn(person, await person.open('/auth/login'), account);
  return person;
}

const askDeletion = async (person: Person) =>
  person.submit(await person.open('/account/deletion'), 'deletion', {}, 'deletion-submit');
const sweep = () => deleteDueAccounts({ db: app.database.db, eraseAccount });
const rowOf = async ({ sub }: Account) => (await app.database.db.select().from(users).where(eq(users.id, sub)))[0];
const eventsOf = async ({ sub }: Account) =>
  (await app.database.db.select().from(auditEvents).where(eq(auditEvents.accountId, sub))).map(({ event }) => event);
const isSignedIn = async (person: Person) => (await person.request('/account')).status === 200;

function pass(days: number): void {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(Date.now() + days * 24 * 60 * 60 * 1000);
}

describe('asking for it', () => {
  test('says what happens, and ends all sessions, tokens and grants at once (SECURITY 21)', async () => {
    const ada = await registerAccount(app);
    const [home, phone] = [await signedIn(ada), await signedIn(ada)];
    const rp = await discover(app, await registerClient(app));
    const { tokens } = await signInThrough(app, rp, ada, {
      person: phone,
      parameters: { scope: 'openid offline_access', prompt: 'consent' },
    });
    expect(readText((await home.open('/account/deletion')).html)).toMatch(/Fernwood Library After 14 days/);
    const page = await askDeletion(home);
    expect([page.url, readText(page.html)]).toEqual([
      `${app.origin}/auth/account-deleted`,
      expect.stringContaining('in 14 days'),
    ]);
    expect([await isSignedIn(home), await isSignedIn(phone)]).toEqual([false, false]);
    expect((await rp.introspect(tokens.access_token)).active).toBe(false);
    await expect(rp.refresh(tokens.refresh_token ?? '')).rejects.toMatchObject({ error: 'invalid_grant' });
    await expect(rp.userinfo(tokens.access_token, ada.sub)).rejects.toThrow();
    expect(await eventsOf(ada)).toContain('account.deletion-requested');
    const [mail] = await readMails(app, ada.email);
    expect(mail).toMatchObject({ template: 'notice', subject: 'Your account will be deleted' });
    expect(mail?.links).toContain(`${app.origin}/auth/login`);
  });

  test('a code in flight is worth nothing any more', async () => {
    const ada = await registerAccount(app);
    const rp = await discover(app, await registerClient(app));
    const { person } = await signInThrough(app, rp, ada);
    const request = await rp.start();
    const { left } = await person.open(request.url);
    await askDeletion(person);
    await expect(request.finish(left as URL)).rejects.toMatchObject({ error: 'invalid_grant' });
  });

  test('many times at once is once', async () => {
    const ada = await registerAccount(app);
    const person = await signedIn(ada);
    const asked = { method: 'POST', body: new URLSearchParams() };
    await Promise.all(Array.from({ length: 6 }, () => person.request('/account/deletion', asked)));
    expect((await eventsOf(ada)).filter((event) => event === 'account.deletion-requested')).toHaveLength(1);
    expect((await readMails(app, ada.email)).filter(({ template }) => template === 'notice')).toHaveLength(1);
  });
});

describe('signing in within two weeks', () => {
  test('takes it back, says so on the page and by mail, and nothing is deleted', async () => {
    const ada = await registerAccount(app);
    await askDeletion(await signedIn(ada));
    pass(13);
    await sweep();
    const person = browser();
    const page = await signIn(person, await person.open('/auth/login'), ada);
    expect(readText(page.html)).toContain('Your account stays.');
    expect(await rowOf(ada)).toMatchObject({ deletionAt: null });
    expect(await eventsOf(ada)).toContain('account.deletion-cancelled');
    expect((await readMails(app, ada.email))[0]?.subject).toBe('Your account stays');
    pass(30);
    await sweep();
    // The news is no news at the next sign-in.
    const again = browser();
    expect(readText((await signIn(again, await again.open('/auth/login'), ada)).html)).not.toContain(
      'Your account stays',
    );
  });

  test('takes it back for a client, too', async () => {
    const ada = await registerAccount(app);
    await askDeletion(await signedIn(ada));
    const { tokens } = await signInThrough(app, await discover(app, await registerClient(app)), ada, {
      person: browser(),
    });
    expect(tokens.claims()?.sub).toBe(ada.sub);
    expect(await rowOf(ada)).toMatchObject({ deletionAt: null });
  });

  test('a wrong password takes nothing back', async () => {
    const ada = await registerAccount(app);
    await askDeletion(await signedIn(ada));
    const person = browser();
    await signIn(person, await person.open('/auth/login'), { ...ada, password: 'wrong one' });
    expect((await rowOf(ada))?.deletionAt).toBeInstanceOf(Date);
  });

  test('a sign-in that overlaps with the request leaves an account that stays, or one without a session', async () => {
    for (let round = 0; round < 4; round += 1) {
      const ada = await registerAccount(app);
      const [home, other] = [await signedIn(ada), browser()];
      const body = new URLSearchParams({ email: ada.email, password });
      await Promise.all([
        other.request('/auth/login', { method: 'POST', body }),
        home.request('/account/deletion', { method: 'POST', body: new URLSearchParams() }),
      ]);
      const deleting = (await rowOf(ada))?.deletionAt !== null;
      expect([deleting && (await isSignedIn(other)), await isSignedIn(home)]).toEqual([false, false]);
      if (deleting) {
        const live = await app.database.db
          .select()
          .from(oidcSessions)
          .where(sql`${oidcSessions.accountId} = ${ada.sub} and ${oidcSessions.endedAt} is null`);
        expect(live).toEqual([]);
      }
    }
  });
});

describe('after two weeks', () => {
  test('nothing of the person is left but the id in the audit log', async () => {
    const ada = await registerAccount(app, { name: 'Ada Erased' });
    const person = await signedIn(ada);
    await signInThrough(app, await discover(app, await registerClient(app)), ada, { person });
    await askDeletion(person);
    pass(14.01);
    // The day has come, though the job has not run yet: it is too late to take it back.
    const late = browser();
    await signIn(late, await late.open('/auth/login'), ada);
    expect(await isSignedIn(late)).toBe(false);
    // Several instances share the work.
    await Promise.all([sweep(), sweep()]);
    expect(await rowOf(ada)).toBeUndefined();
    const { db } = app.database;
    expect(await db.select().from(oidcSessions).where(eq(oidcSessions.accountId, ada.sub))).toEqual([]);
    expect(await db.select().from(oidcGrants).where(eq(oidcGrants.accountId, ada.sub))).toEqual([]);
    const { rows: tables } = await db.execute<{ name: string }>(
      sql`select table_name as name from information_schema.tables where table_schema = 'public' and table_name <> 'audit_events'`,
    );
    expect(tables.length).toBeGreaterThan(20);
    for (const { name } of tables) {
      const { rows } = await db.execute(
        sql`select * from ${sql.identifier(name)} as t where t::text like ${`%${ada.sub}%`} or t::text like ${`%${ada.email}%`}`,
      );
      expect([name, rows]).toEqual([name, []]);
    }
    const kept = await db.select().from(auditEvents).where(eq(auditEvents.accountId, ada.sub));
    expect(kept.filter(({ event }) => event === 'account.deleted')).toHaveLength(1);
    for (const { details } of kept) expect(JSON.stringify(details)).not.toMatch(new RegExp(`${ada.email}|Erased`));
  });

  test('the address is free for a new account, which is another one', async () => {
    const ada = await registerAccount(app);
    await askDeletion(await signedIn(ada));
    pass(14.01);
    await sweep();
    const next = await registerAccount(app, { email: ada.email });
    expect(next.sub).not.toBe(ada.sub);
  });
});

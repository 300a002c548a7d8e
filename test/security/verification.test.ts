/** Proof of an address: what a link is good for, once, and what nobody learns from asking (SECURITY 50, 53). */
import { and, eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditEvents, emailTokens, mails, users } from '../../src/db/schema.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { readLink, readMail, readMails } from '../support/mailbox.ts';
import { createPerson, type Person, readText } from '../support/person.ts';
import {
  discover,
  password,
  registerAccount,
  registerClient,
  signIn,
  signInThrough,
} from '../support/relying-party.ts';

const tokenOf = (link: string) => new URL(link).searchParams.get('token') as string;

function postJson(server: TestApp, path: string, body: object, headers: Record<string, string> = {}) {
  return fetch(server.origin + path, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  });
}

const accountOf = async ({ database: { db } }: TestApp, email: string) =>
  (await db.select().from(users).where(eq(users.email, email)))[0];

const eventsOf = async ({ database: { db } }: TestApp, accountId: string, event: string) =>
  db
    .select()
    .from(auditEvents)
    .where(and(eq(auditEvents.accountId, accountId), eq(auditEvents.event, event)));

describe('the address of an account', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await startApp();
  });
  afterAll(() => app.close());

  test('is proven by the link in the mail, and email_verified is true from then on only', async () => {
    const rp = await discover(app, await registerClient(app));
    const ada = await registerAccount(app);
    const before = await signInThrough(app, rp, ada);
    expect(await rp.userinfo(before.tokens.access_token, ada.sub)).toMatchObject({ email_verified: false });

    const page = await before.person.open(await readLink(app, ada.email, 'verify-email'));
    expect(page.status).toBe(200);
    expect(readText(page.html)).toContain(ada.email);
    const done = await before.person.submit(page, 'verify-email', {}, 'verify-email-submit');
    expect([done.status, new URL(done.url).pathname]).toEqual([200, '/account']);

    expect(await rp.userinfo(before.tokens.access_token, ada.sub)).toMatchObject({ email_verified: true });
    expect((await accountOf(app, ada.email))?.emailVerified).toBe(true);
    expect(await eventsOf(app, ada.sub, 'email.verified')).toHaveLength(1);
  });

  test('is not proven by whoever only opens the link, as mail scanners do (SECURITY 53)', async () => {
    const ada = await registerAccount(app);
    const link = await readLink(app, ada.email, 'verify-email');
    for (const method of ['GET', 'HEAD', 'GET']) expect((await fetch(link, { method })).status).toBe(200);
    expect((await accountOf(app, ada.email))?.emailVerified).toBe(false);
    const answer = await postJson(app, '/auth/verify-email', { token: tokenOf(link) });
    expect([answer.status, await answer.json()]).toEqual([200, { email: ada.email, email_verified: true }]);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.getSetCookie()).toEqual([]);
  });

  test('can be proven in another browser, which is signed in to nothing by that', async () => {
    const ada = await registerAccount(app);
    const phone = createPerson(app.origin);
    const page = await phone.open(await readLink(app, ada.email, 'verify-email'));
    const done = await phone.submit(page, 'verify-email', {}, 'verify-email-submit');
    expect(readText(done.html)).toContain('Your address is confirmed');
    expect((await phone.request('/account')).status).toBe(303);
    expect((await accountOf(app, ada.email))?.emailVerified).toBe(true);
  });

  test('needs a link that works once, also when it is used eight times at once', async () => {
    const ada = await registerAccount(app);
    const token = tokenOf(await readLink(app, ada.email, 'verify-email'));
    const answers = await Promise.all(Array.from({ length: 8 }, () => postJson(app, '/auth/verify-email', { token })));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, ...Array(7).fill(400)]);
    const refused = answers.find(({ status }) => status === 400);
    expect(await refused?.json()).toEqual({ error: 'invalid_token', error_description: expect.any(String) });
    expect(await eventsOf(app, ada.sub, 'email.verified')).toHaveLength(1);
  });

  test('is not proven by a link that has run out, and the page sends a new one', async () => {
    const ada = await registerAccount(app);
    const person = createPerson(app.origin);
    await signIn(person, await person.open('/auth/login'), ada);
    const link = await readLink(app, ada.email, 'verify-email');
    const { db } = app.database;
    await db.update(emailTokens).set({ expiresAt: new Date() }).where(eq(emailTokens.accountId, ada.sub));
    const ended = await person.open(link);
    expect(ended.status).toBe(400);
    expect(readText(ended.html)).toContain('This link has been used or has run out');
    expect((await postJson(app, '/auth/verify-email', { token: tokenOf(link) })).status).toBe(400);

    const sent = await person.submit(ended, 'resend', {}, 'resend-submit');
    expect(new URL(sent.url).pathname).toBe('/account');
    const another = await readLink(app, ada.email, 'verify-email');
    expect(another).not.toBe(link);
    await person.submit(await person.open(another), 'verify-email', {}, 'verify-email-submit');
    expect((await accountOf(app, ada.email))?.emailVerified).toBe(true);
    // Asking again changes nothing and sends nothing.
    const count = (await readMails(app, ada.email)).length;
    await person.request('/account/verify-email', { method: 'POST', body: new URLSearchParams() });
    expect(await readMails(app, ada.email)).toHaveLength(count);
  });

  test('a link proves the address it was sent to, not one that the account has since', async () => {
    const ada = await registerAccount(app);
    const link = await readLink(app, ada.email, 'verify-email');
    const email = `other-${ada.email}`;
    await app.database.db.update(users).set({ email, emailNormalized: email }).where(eq(users.id, ada.sub));
    expect((await postJson(app, '/auth/verify-email', { token: tokenOf(link) })).status).toBe(400);
    expect((await accountOf(app, email))?.emailVerified).toBe(false);
  });

  test('a link of a suspended account changes nothing', async () => {
    const ada = await registerAccount(app);
    const link = await readLink(app, ada.email, 'verify-email');
    await app.database.db.update(users).set({ suspendedAt: new Date() }).where(eq(users.id, ada.sub));
    expect((await postJson(app, '/auth/verify-email', { token: tokenOf(link) })).status).toBe(400);
    expect((await accountOf(app, ada.email))?.emailVerified).toBe(false);
  });

  test('links come in so many mails and no more: further ones are answered alike and not sent (SECURITY 51)', async () => {
    const ada = await registerAccount(app);
    const person = createPerson(app.origin);
    await signIn(person, await person.open('/auth/login'), ada);
    const resend = () => person.request('/account/verify-email', { method: 'POST', body: new URLSearchParams() });
    for (let index = 0; index < 8; index += 1)
      expect((await resend()).headers.get('location')).toBe('/account?done=link-sent');
    const sent = await readMails(app, ada.email);
    expect(sent.length).toBeGreaterThan(2);
    expect(sent.length).toBeLessThan(6);
    // The latest is good.
    expect((await postJson(app, '/auth/verify-email', { token: tokenOf(sent[0]?.links[0] as string) })).status).toBe(
      200,
    );
  });

  test('only its own person may ask for another link, and only from our pages (SECURITY 28)', async () => {
    const ada = await registerAccount(app);
    expect((await postJson(app, '/account/verify-email', {})).status).toBe(401);
    const answer = await postJson(app, '/auth/verify-email', { token: 'x' }, { 'sec-fetch-site': 'cross-site' });
    expect(answer.status).toBe(403);
    expect(await readMails(app, ada.email)).toHaveLength(1);
  });

  test.each([[undefined], [''], ['x'], ['x'.repeat(43)], [['a', 'b']], [{ a: 1 }], [1], ['%00']])(
    'no link is found by %j',
    async (token) => {
      const answer = await postJson(app, '/auth/verify-email', { token });
      expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([400, 'invalid_token']);
    },
  );

  test('the host of a link is the configured one, whatever the request says (SECURITY 53)', async () => {
    const email = 'host@moreno.example';
    const headers = {
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
      forwarded: 'host=evil.example',
    };
    await postJson(app, '/auth/register', { email, name: 'Ada', password }, headers);
    const mail = await readMail(app, email);
    expect(mail.links.map((link) => new URL(link).origin)).toEqual([app.origin]);
    expect(mail.text + mail.html).not.toContain('evil.example');
  });

  test('nobody who reads the database or the log finds a link (SECURITY 57)', async () => {
    const ada = await registerAccount(app);
    const link = await readLink(app, ada.email, 'verify-email');
    await fetch(link);
    await postJson(app, '/auth/verify-email', { token: tokenOf(link), password: 'a password here' });
    const { db } = app.database;
    const stored = JSON.stringify([
      await db.select().from(mails),
      await db.select().from(emailTokens),
      await db.select().from(auditEvents),
    ]);
    expect(stored).not.toContain(tokenOf(link));
    expect(stored).not.toContain(ada.email);
    expect(JSON.stringify(app.log)).not.toContain(tokenOf(link));
  });
});

describe('with ACCOUNT_REGISTRATION=verified', () => {
  let app: TestApp;
  let number = 0;
  const newEmail = () => `new${++number}@moreno.example`;

  beforeAll(async () => {
    app = await startApp({ env: { ACCOUNT_REGISTRATION: 'verified' } });
  });
  afterAll(() => app.close());

  /** Fills in the form; the page that follows is the same for everybody. */
  async function register(person: Person, email: string, path = '/auth/register') {
    return person.submit(await person.open(path), 'register', { name: 'Ada', email, password }, 'register-submit');
  }

  /** An account by its link, with the browser that has it. */
  async function makeAccount(email = newEmail()) {
    const person = createPerson(app.origin);
    await register(person, email);
    await follow(person, email);
    return { person, email };
  }

  async function follow(person: Person, email: string, fields: Record<string, string> = {}) {
    const page = await person.open(await readLink(app, email, 'register'));
    return person.submit(page, 'verify-email', fields, 'verify-email-submit');
  }

  test('an account exists once the link was followed, and that browser is signed in', async () => {
    const email = newEmail();
    const person = createPerson(app.origin);
    const page = await register(person, email, '/auth/register?return_to=/account/profile');
    expect([page.status, readText(page.html)]).toEqual([200, expect.stringContaining('Check your email')]);
    expect(await accountOf(app, email)).toBeUndefined();
    expect((await person.request('/account')).status).toBe(303);
    expect((await postJson(app, '/auth/login', { email, password })).status).toBe(401);

    const done = await follow(person, email);
    expect([done.status, new URL(done.url).pathname]).toEqual([200, '/account/profile']);
    const account = await accountOf(app, email);
    expect(account).toMatchObject({ emailVerified: true, name: 'Ada' });
    expect(await eventsOf(app, account?.id as string, 'account.registered')).toHaveLength(1);
    expect((await postJson(app, '/auth/login', { email, password })).status).toBe(200);
  });

  test('known and unknown addresses get the same answer, and the known one a mail that says so (SECURITY 50)', async () => {
    const { email: known } = await makeAccount();
    const unknown = newEmail();
    const ask = async (email: string) => {
      const answer = await postJson(app, '/auth/register', { email, name: 'Eve', password: 'another password here' });
      const headers = [...answer.headers].filter(([name]) => !['x-request-id', 'date', 'set-cookie'].includes(name));
      const cookies = answer.headers.getSetCookie().map((cookie) => cookie.replace(/=[\w-]+;|Expires=[^;]+;/g, ''));
      return { status: answer.status, headers, cookies, body: await answer.text() };
    };
    expect(await ask(known.toUpperCase())).toEqual(await ask(unknown));
    const asForm = async (email: string) => {
      const page = await register(createPerson(app.origin), email);
      return [page.status, page.html];
    };
    expect(await asForm(known)).toEqual(await asForm(unknown));

    expect((await readMail(app, unknown)).template).toBe('register');
    const mail = await readMail(app, known);
    expect(mail.template).toBe('already-registered');
    expect(mail.links.map((link) => new URL(link).pathname)).toEqual(['/auth/login', '/auth/forgot-password']);
    expect((await accountOf(app, known))?.name).toBe('Ada');
    expect((await postJson(app, '/auth/login', { email: known, password: 'another password here' })).status).toBe(401);
  });

  test('known and unknown addresses cost the same work (SECURITY 49, 50)', async () => {
    const { email: known } = await makeAccount();
    const { pool } = app.database;
    const statements: string[] = [];
    const work = async (email: string) => {
      statements.length = 0;
      const answer = await postJson(app, '/auth/register', { email, name: 'Eve', password });
      expect(answer.status).toBe(202);
      return statements.map((text) => text.replace(/\$\d+/g, '?'));
    };
    const { Client } = await import('pg');
    const original = Client.prototype.query;
    Client.prototype.query = function (this: unknown, ...args: unknown[]) {
      const [query] = args as [string | { text: string }];
      const text = typeof query === 'string' ? query : query.text;
      if (/users|email_tokens|mails/.test(text)) statements.push(text);
      return (original as (...all: unknown[]) => unknown).apply(this, args);
    } as typeof original;
    try {
      expect(pool.totalCount).toBeGreaterThan(0);
      const ofKnown = await work(known);
      expect(ofKnown.length).toBeGreaterThan(2);
      expect(await work(newEmail())).toEqual(ofKnown);
    } finally {
      Client.prototype.query = original;
    }
  });

  test('another browser makes the account only with the password that was chosen', async () => {
    const email = newEmail();
    await register(createPerson(app.origin), email);
    const phone = createPerson(app.origin);
    const page = await phone.open(await readLink(app, email, 'register'));
    expect(page.html).toContain('type="password"');
    for (const wrong of ['', 'not that one']) {
      const refused = await phone.submit(page, 'verify-email', { password: wrong }, 'verify-email-submit');
      expect(refused.status).toBe(422);
      expect(refused.html).not.toContain('not that one');
    }
    const token = tokenOf(await readLink(app, email, 'register'));
    const byProgram = await postJson(app, '/auth/verify-email', { token });
    expect([byProgram.status, ((await byProgram.json()) as { error: string }).error]).toEqual([
      401,
      'invalid_credentials',
    ]);
    expect(await accountOf(app, email)).toBeUndefined();

    const done = await phone.submit(page, 'verify-email', { password }, 'verify-email-submit');
    expect(new URL(done.url).pathname).toBe('/account');
    expect((await accountOf(app, email))?.emailVerified).toBe(true);
  });

  test('somebody else’s address is no way to wait in its owner’s account with a password of one’s own', async () => {
    const email = newEmail();
    const mallory = createPerson(app.origin);
    await register(mallory, email);
    // The owner has the mail, and not the password; Mallory has the password, and not the mail.
    const owner = createPerson(app.origin);
    const page = await owner.open(await readLink(app, email, 'register'));
    await owner.submit(page, 'verify-email', { password: 'my very own words' }, 'verify-email-submit');
    expect(await accountOf(app, email)).toBeUndefined();
    expect((await postJson(app, '/auth/login', { email, password })).status).toBe(401);
  });

  test('one link makes one account, also when it is used eight times at once', async () => {
    const email = newEmail();
    await register(createPerson(app.origin), email);
    const token = tokenOf(await readLink(app, email, 'register'));
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => postJson(app, '/auth/verify-email', { token, password })),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, ...Array(7).fill(400)]);
    expect(
      answers.flatMap(({ headers }) => headers.getSetCookie().filter((c) => c.startsWith('latchkey_session='))),
    ).toHaveLength(1);
    expect(await app.database.db.select().from(users).where(eq(users.email, email))).toHaveLength(1);
  });

  test('of two registrations of one address the link that comes first makes the account', async () => {
    const email = newEmail();
    const [ada, eve] = [createPerson(app.origin), createPerson(app.origin)];
    await Promise.all([register(ada, email), register(eve, email)]);
    const links = (await readMails(app, email)).map((mail) => mail.links[0] as string);
    expect(new Set(links).size).toBe(2);
    const answers = await Promise.all(
      links.map((link) => postJson(app, '/auth/verify-email', { token: tokenOf(link), password })),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409]);
    expect(await app.database.db.select().from(users).where(eq(users.email, email))).toHaveLength(1);
  });

  test('an address that was taken meanwhile keeps its account', async () => {
    const email = newEmail();
    const [ada, late] = [createPerson(app.origin), createPerson(app.origin)];
    await register(late, email);
    const link = await readLink(app, email, 'register');
    await register(ada, email);
    await follow(ada, email);
    const page = await late.submit(await late.open(link), 'verify-email', {}, 'verify-email-submit');
    expect([page.status, readText(page.html)]).toEqual([409, expect.stringContaining('has an account already')]);
    expect((await late.request('/account')).status).toBe(303);
  });

  test('a registration in the middle of a client’s request comes back to it', async () => {
    const rp = await discover(app, await registerClient(app));
    const person = createPerson(app.origin);
    const request = await rp.start();
    const signInPage = await person.open(request.url);
    const email = newEmail();
    const checked = await register(person, email, `${signInPage.url}/register`);
    expect(readText(checked.html)).toContain('Check your email');
    const consent = await follow(person, email);
    expect(consent.html).toContain('id="consent"');
    const allowed = await person.submit(consent, 'consent', { scope: ['openid', 'email'] }, 'consent-approve');
    const tokens = await request.finish(allowed.left as URL);
    expect(tokens.claims()?.sub).toBe((await accountOf(app, email))?.id);
  });

  test('the form is refused as ever: fields, leaks, limits', async () => {
    const answer = await postJson(app, '/auth/register', { email: 'x', name: '', password: 'short' });
    expect([answer.status, ((await answer.json()) as { issues: unknown[] }).issues]).toEqual([400, expect.any(Array)]);
  });

  test('an address gets so many mails and no more, the answer stays the same (SECURITY 51)', async () => {
    const email = newEmail();
    for (let index = 0; index < 8; index += 1) {
      expect((await postJson(app, '/auth/register', { email, name: 'Ada', password })).status).toBe(202);
    }
    expect((await readMails(app, email)).length).toBeLessThan(5);
  });

  test('the mail carries no words of whoever filled in the form', async () => {
    const email = newEmail();
    await postJson(app, '/auth/register', { email, name: 'You won! https://evil.example', password });
    const { text, html, subject } = await readMail(app, email);
    expect(text + html + subject).not.toMatch(/evil|You won/);
  });
});

test('a link does what it does on another instance, too, and is gone after a day', async () => {
  const app = await startAppForTest();
  const other = await startAppForTest({ database: { url: app.databaseUrl }, env: { OIDC_ISSUER: app.origin } });
  const ada = await registerAccount(app);
  const link = await readLink(app, ada.email, 'verify-email');
  const { db } = app.database;
  const [row] = await db
    .select({ seconds: sql<number>`extract(epoch from expires_at - created_at)::int` })
    .from(emailTokens);
  expect(row?.seconds).toBe(24 * 3600);
  const answer = await fetch(`http://127.0.0.1:${other.port}/auth/verify-email`, {
    method: 'POST',
    body: JSON.stringify({ token: tokenOf(link) }),
    headers: { 'content-type': 'application/json' },
  });
  expect(answer.status).toBe(200);
});

test('the browser with the form is known by a cookie that scripts and other hosts never see (SECURITY 32)', async () => {
  const cookieOf = async (env: Record<string, string>) => {
    const app = await startAppForTest({ env: { ACCOUNT_REGISTRATION: 'verified', ...env } });
    const answer = await postJson({ ...app, origin: `http://127.0.0.1:${app.port}` }, '/auth/register', {
      email: 'ada@moreno.example',
      name: 'Ada',
      password,
    });
    expect(answer.status).toBe(202);
    return answer.headers
      .getSetCookie()
      .map((cookie) => cookie.replace(/=[\w-]{43};|Expires=[^;]+; /g, (found) => (found.startsWith('=') ? ';' : '')));
  };
  const attributes = 'Max-Age=86400; Path=/; HttpOnly;';
  expect(await cookieOf({})).toEqual([`latchkey-registration; ${attributes} SameSite=Lax`]);
  const https = await cookieOf({ OIDC_ISSUER: 'https://id.example' });
  expect(https).toEqual([`__Host-latchkey-registration; ${attributes} Secure; SameSite=Lax`]);
});

/** `create-admin` and `create-client`: one command each, from nothing to what somebody can use. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { findAccount } from '../../src/accounts/accounts.ts';
import { auditEvents, users } from '../../src/db/schema.ts';
import { authorizationUrl, issueCode, redeem } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { runCommandLine } from '../support/command-line.ts';
import { createPerson, type Person } from '../support/person.ts';
import { allow, registerAccount, registerClient, signIn } from '../support/relying-party.ts';
import { authenticatorOf, setUpTwoStep } from '../support/two-step-person.ts';

const folder = mkdtempSync(join(tmpdir(), 'latchkey-create-'));
let app: TestApp;
let browser: Person;

beforeAll(async () => {
  app = await startApp();
});
beforeEach(() => {
  browser = createPerson(app.origin);
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true });
});

const run = (...words: string[]) => runCommandLine({ env: { ...app.env, BCRYPT_ROUNDS: '10' }, folder }, words);

async function json(...words: string[]) {
  const { code, stdout, stderr } = await run(...words, '--json');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

const eventsOf = async (sub: string) =>
  (await app.database.db.select().from(auditEvents).where(eq(auditEvents.accountId, sub)).orderBy(auditEvents.id)).map(
    ({ event, details }) => [event, details.by],
  );

describe('create-admin', () => {
  test('makes an account with a password shown once, and the mark is on record', async () => {
    const made = await json('create-admin', 'ada@moreno.example', '--name', 'Ada Moreno', '--verified');
    const { sub, password } = made;
    expect(made).toEqual({
      sub,
      email: 'ada@moreno.example',
      created: true,
      password: expect.stringMatching(/^\S{24}$/),
    });
    expect(await findAccount(app.database.db, sub)).toMatchObject({
      name: 'Ada Moreno',
      emailVerified: true,
      administratorSince: expect.any(Date),
    });
    expect(await eventsOf(sub)).toEqual([
      ['account.registered', 'cli'],
      ['account.administrator-granted', 'cli'],
    ]);
    expect((await run('accounts', 'show', sub)).stdout).toMatch(/^administrator +since \d{4}-\d\d-\d\d$/m);
    expect(await json('accounts', 'show', sub)).toMatchObject({ administrator_since: expect.any(Number) });
    const page = await signIn(browser, await browser.open('/auth/login'), { email: 'ada@moreno.example', password });
    expect(new URL(page.url).pathname).toBe('/account/two-step/set-up');
  });

  test('takes the password from a file and shows none, and refuses one that the policy refuses', async () => {
    const file = join(folder, 'password');
    writeFileSync(file, 'seven little lighthouses\nnot this\n');
    expect(await json('create-admin', 'bea@moreno.example', '--password-file', file)).not.toHaveProperty('password');
    const person = { email: 'bea@moreno.example', password: 'seven little lighthouses' };
    const page = await signIn(browser, await browser.open('/auth/login'), person);
    expect(page.html).toContain('set_up');
    writeFileSync(file, 'short\n');
    expect(await run('create-admin', 'cleo@moreno.example', '--password-file', file)).toMatchObject({
      code: 1,
      stderr: 'error: That’s 5 characters. Use at least 8.\n',
    });
  });

  test('promotes an account that there is, once, and leaves its password alone', async () => {
    const { sub, email } = await registerAccount(app);
    const before = await app.database.db.select().from(users).where(eq(users.id, sub));
    expect((await run('create-admin', email, '--generate')).stderr).toMatch(/^error: .* keeps its password: /);
    expect(await json('create-admin', email)).toEqual({ sub, email, created: false });
    const after = await app.database.db.select().from(users).where(eq(users.id, sub));
    expect(after).toEqual([{ ...before[0], administratorSince: expect.any(Date) }]);
    expect(await run('create-admin', email)).toMatchObject({
      code: 1,
      stderr: `error: ${email} was an administrator before.\n`,
    });
  });

  test('does not promote a suspended account', async () => {
    const { sub, email } = await registerAccount(app);
    await json('accounts', 'suspend', sub);
    expect((await run('create-admin', email)).stderr).toBe(`error: ${email} is suspended or about to be deleted.\n`);
  });

  test('admin-off takes the mark away, once', async () => {
    const { sub, email } = await registerAccount(app);
    await json('create-admin', email);
    expect(await json('accounts', 'admin-off', email)).toEqual({ sub, administrator: false });
    expect((await run('accounts', 'admin-off', email)).stderr).toBe(`error: ${sub} is no administrator.\n`);
    expect(await findAccount(app.database.db, sub)).toMatchObject({ administratorSince: null });
    expect((await eventsOf(sub)).at(-1)).toEqual(['account.administrator-withdrawn', 'cli']);
  });
});

describe('an administrator', () => {
  test('gets into no app without two factors, whichever client asks, and sets the second up on the way', async () => {
    const account = await registerAccount(app);
    await signIn(browser, await browser.open('/auth/login'), account);
    const client = await registerClient(app);
    expect((await browser.open(authorizationUrl(app, client))).html).toContain('id="consent"');
    await json('create-admin', account.email);

    let page = await browser.open(authorizationUrl(app, client));
    expect(page.html).toContain('administrators sign in with two steps');
    page = await browser.open(/href="(\/account\/two-step\/set-up[^"]*)"/.exec(page.html)?.[1] ?? 'no link');
    const code = authenticatorOf(page.html);
    page = await browser.submit(page, 'totp-set-up', { code: code() });
    page = await browser.open(authorizationUrl(app, client));
    expect((await allow(browser, page)).left?.searchParams.get('code')).toBeTruthy();
  });

  test('is asked for the second factor in a remembered browser too', async () => {
    const account = await registerAccount(app);
    await signIn(browser, await browser.open('/auth/login'), account);
    const ada = await setUpTwoStep(app, browser, account);
    const signOut = () => browser.request('/auth/logout', { method: 'POST' });
    await signOut();
    let page = await signIn(browser, await browser.open('/auth/login'), account);
    await browser.submit(page, 'second-factor', { code: await ada.code(), remember: '1' });
    await signOut();
    page = await signIn(browser, await browser.open('/auth/login'), account);
    expect(page.html).not.toContain('id="second-factor"');
    await signOut();
    await json('create-admin', account.email);
    page = await signIn(browser, await browser.open('/auth/login'), account);
    expect(page.html).toContain('id="second-factor"');
  });

  test('is none to any client: no token and no claim tells of the mark', async () => {
    const account = await registerAccount(app);
    await signIn(browser, await browser.open('/auth/login'), account);
    await setUpTwoStep(app, browser, account);
    await json('create-admin', account.email);
    const client = await registerClient(app);
    const asked = {
      scope: 'openid profile email',
      claims: '{"id_token":{"administrator":null,"administrator_since":null}}',
    };
    const { body } = await redeem(app, client, await issueCode(app, client, { person: browser, account }, asked));
    const userinfo = await fetch(`${app.issuer}/userinfo`, {
      headers: { authorization: `Bearer ${body.access_token}` },
    });
    const told = { ...decodeJwt(String(body.id_token)), ...((await userinfo.json()) as object) };
    expect(told).toMatchObject({ sub: account.sub, acr: 'urn:latchkey:acr:mfa', email: account.email });
    expect(JSON.stringify(told)).not.toMatch(/administrator/i);
  });
});

describe('create-client', () => {
  const uri = 'https://fernwood.example/callback';
  const rows: [type: string, words: string[], registered: object, pasted: RegExp][] = [
    [
      'web',
      ['--redirect-uri', uri],
      { token_endpoint_auth_method: 'client_secret_basic', client_secret: expect.stringMatching(/^\S{43}$/) },
      /^OIDC_CLIENT_SECRET=\S{43}\nOIDC_REDIRECT_URI=https:\/\/fernwood\.example\/callback$/m,
    ],
    [
      'spa',
      ['--redirect-uri', uri],
      { token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'] },
      /^OIDC_CLIENT_ID=c_\S+\nOIDC_REDIRECT_URI=/m,
    ],
    ['native', ['--redirect-uri', 'com.example.app:/cb'], { application_type: 'native' }, /^OIDC_CLIENT_ID=c_/m],
    ['service', [], { grant_types: ['client_credentials'], response_types: [] }, /^curl -u 'c_\S+:\S{43}' -d /m],
    ['device', [], { token_endpoint_auth_method: 'none' }, /^curl -d client_id=c_\S+ -d 'scope=openid' http/m],
  ];

  test.each(rows)('%s: registers what it needs, and prints what to paste', async (type, words, registered, pasted) => {
    const made = await json('create-client', 'Fernwood', '--type', type, ...words);
    expect(made).toMatchObject({ issuer: app.issuer, client_id: expect.stringMatching(/^c_/), ...registered });
    const { stdout } = await run('create-client', 'Fernwood', '--type', type, ...words);
    expect(stdout).toMatch(pasted);
  });

  test('a service’s secret gets a token', async () => {
    const { client_id, client_secret } = await json('create-client', 'Nightly', '--type', 'service');
    const answer = await fetch(`${app.issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    });
    expect(await answer.json()).toMatchObject({ token_type: 'Bearer' });
  });

  test.each([
    ['web', []],
    ['service', ['--redirect-uri', 'https://a.example/cb']],
  ])('--type %s with redirect URIs that do not fit is not understood', async (type, words) => {
    expect(await run('create-client', 'X', '--type', type, ...words)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: --type .* --redirect-uri; see --help\n$/),
    });
  });
});

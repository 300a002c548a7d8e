/** docs/recipes/apache.md for real: Apache with mod_auth_openidc, its lines and the registration as printed there, in Chromium. */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { expectHeading, press, signIn } from '../browser/steps.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { freePort } from '../support/listen.ts';
import { createPerson } from '../support/person.ts';
import { registerAccount } from '../support/relying-party.ts';
import { type Apache, type Seen, startApache } from './apache.ts';
import { registerAsPrinted } from './pages.ts';
import { type Account, registerVerifiedAccount } from './people.ts';

let app: TestApp;
let apache: Apache;
let site: string;
let browser: Browser;

beforeAll(async () => {
  [app, browser] = await Promise.all([startApp({ env: { OUTBOUND_ALLOW: '127.0.0.1,localhost' } }), launchBrowser()]);
  site = `http://localhost:${await freePort()}`;
  const client = await registerAsPrinted('apache.md', app.env, { 'https://reports.example.com': site });
  apache = await startApache({ origin: site, provider: app.origin, client });
  // The first time its packages are fetched.
}, 180_000);
afterAll(async () => {
  await browser?.close();
  await apache?.stop();
  await app.close();
});

async function visit(path: string): Promise<{ context: BrowserContext; page: Page }> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  await page.goto(`${site}${path}`);
  return { context, page };
}

/** At Latchkey, and back at the site; answers the status there. */
async function signInAt(page: Page, account: Account): Promise<number> {
  const back = page.waitForResponse((response) => {
    const { origin, pathname } = new URL(response.url());
    return origin === site && pathname !== '/oidc-callback';
  });
  await signIn(page, account);
  return (await back).status();
}

const seen = async (page: Page) => JSON.parse(await page.locator('body').innerText()) as Seen;

test('a person signs in at Latchkey and comes back to the page that was asked for; the application is told who came', async () => {
  const account = await registerVerifiedAccount(app);
  const { page } = await visit('/quarterly?year=2026');
  expect(new URL(page.url()).origin).toBe(app.origin);
  expect(await signInAt(page, account)).toBe(200);
  expect(page.url()).toBe(`${site}/quarterly?year=2026`);
  const { path, headers } = await seen(page);
  expect(path).toBe('/quarterly?year=2026');
  expect(headers).toMatchObject({
    'x-remote-user': account.sub,
    oidc_claim_sub: account.sub,
    oidc_claim_email: account.email,
    oidc_claim_name: account.name,
    oidc_claim_iss: app.issuer,
  });
  expect(headers.cookie ?? '').not.toContain('mod_auth_openidc_session');
});

test('what a visitor says of themselves in headers never reaches the application', async () => {
  const account = await registerVerifiedAccount(app);
  const { context, page } = await visit('/');
  await signInAt(page, account);
  const forged = { 'X-Remote-User': 'u_root', OIDC_CLAIM_email: 'root@example.com', OIDC_CLAIM_groups: 'admins' };
  const answer = await context.request.get(site, { headers: forged });
  const { headers } = (await answer.json()) as Seen;
  expect(headers).toMatchObject({ 'x-remote-user': account.sub, oidc_claim_email: account.email });
  expect(headers).not.toHaveProperty('oidc_claim_groups');

  const onThePageForAll = (await (await fetch(`${site}/signed-out`, { headers: forged })).json()) as Seen;
  expect(onThePageForAll.headers['x-remote-user'] ?? '').toBe('');
  expect(Object.keys(onThePageForAll.headers).filter((name) => name.startsWith('oidc_'))).toEqual([]);
});

test('an address that is not confirmed is refused before the application', async () => {
  const { page } = await visit('/');
  expect(await signInAt(page, await registerAccount(app))).toBe(401);
});

test('a script that is not signed in gets 401 and no redirect', async () => {
  expect((await fetch(`${site}/data.json`, { redirect: 'manual' })).status).toBe(401);
});

test('signing out at the site signs out at Latchkey, after asking, and comes back', async () => {
  const account = await registerVerifiedAccount(app);
  const { page } = await visit('/');
  await signInAt(page, account);
  await page.goto(`${site}/oidc-callback?logout=${encodeURIComponent(`${site}/signed-out`)}`);
  await expectHeading(page, 'Sign out?');
  await press(page, 'Sign out');
  await page.waitForURL(`${site}/signed-out`);
  expect((await seen(page)).headers['x-remote-user'] ?? '').toBe('');
  await page.goto(site);
  await expectHeading(page, 'Sign in');
});

test('signing out everywhere else ends the session at the site', async () => {
  const account = await registerVerifiedAccount(app);
  const { context, page } = await visit('/');
  await signInAt(page, account);
  const status = async () => (await context.request.get(site, { maxRedirects: 0 })).status();
  expect(await status()).toBe(200);
  const elsewhere = createPerson(app.origin);
  const headers = { 'content-type': 'application/json' };
  await elsewhere.request('/auth/login', { method: 'POST', headers, body: JSON.stringify(account) });
  expect((await elsewhere.request('/account/sign-out', { method: 'POST', headers })).status).toBeLessThan(400);
  await vi.waitFor(async () => expect(await status()).toBe(302), { timeout: 10_000 });
});

test('the request carries PKCE, state and nonce; a forged state and a callback in another browser are refused, the back button is not', async () => {
  const account = await registerVerifiedAccount(app);
  const { context, page } = await visit('/');
  const get = (url: string) => context.request.get(url, { maxRedirects: 0 });
  expect((await get(`${site}/oidc-callback?code=made-up&state=made-up`)).status()).toBe(400);

  const asked = page.waitForRequest((request) => request.url().startsWith(`${app.issuer}/auth?`));
  const answered = page.waitForRequest((request) => request.url().startsWith(`${site}/oidc-callback?`));
  await page.goto(site);
  expect(Object.fromEntries(new URL((await asked).url()).searchParams)).toMatchObject({
    redirect_uri: `${site}/oidc-callback`,
    scope: 'openid profile email',
    code_challenge_method: 'S256',
    state: expect.any(String),
    nonce: expect.any(String),
  });
  expect(await signInAt(page, account)).toBe(200);
  const callback = (await answered).url();
  expect((await get(callback)).headers()).toMatchObject({ location: `${site}/` });
  expect((await fetch(callback, { redirect: 'manual' })).status).toBe(400);
});

test('a client or an address that is not registered stays at Latchkey, with a page that says so', async () => {
  const person = createPerson(app.origin);
  const { page } = await visit('/');
  const first = await page.context().request.get(site, { maxRedirects: 0 });
  const request = new URL(first.headers().location ?? '');
  for (const [name, value] of [
    ['client_id', 'c_nobody'],
    ['redirect_uri', `${site}/elsewhere`],
  ] as const) {
    const changed = new URL(request);
    changed.searchParams.set(name, value);
    const { status, left, html } = await person.open(changed.href);
    expect({ status, left }).toEqual({ status: 400, left: undefined });
    expect(html).toContain(name === 'redirect_uri' ? 'redirect_uri' : 'client');
  }
});

test('without Latchkey within reach the site answers 500, and its log says what it could not get', async () => {
  const origin = `http://localhost:${await freePort()}`;
  const provider = `http://127.0.0.1:${await freePort()}`;
  const cutOff = await startApache({ origin, provider, client: { client_id: 'c_any', client_secret: 'any' } });
  onTestFinished(() => cutOff.stop());
  const { page } = await visit('/signed-out');
  expect((await page.goto(origin))?.status()).toBe(500);
  expect(await cutOff.log()).toContain('could not retrieve metadata');
});

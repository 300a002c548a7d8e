/** examples/spa as a person meets it: signing in, reloading, refreshing, signing out; and what a thief could do meanwhile. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEncryption } from '../../src/keys/encryption.ts';
import { rotateKeys } from '../../src/keys/key-ring.ts';
import { expectHeading, press } from '../browser/steps.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { queryDatabase } from '../support/database.ts';
import { ath, createProofKey } from '../support/dpop.ts';
import { registerAccount } from '../support/relying-party.ts';
import {
  alertOf,
  greeting,
  nextTokens,
  requestsTo,
  type Spa,
  signInAtSpa,
  startSpa,
  stepsOf,
  visitSpa,
} from './spa-visitor.ts';

let app: TestApp;
let spa: Spa;
let browser: Browser;

beforeAll(async () => {
  [app, browser] = await Promise.all([startApp(), launchBrowser()]);
  spa = await startSpa(app);
});
afterAll(async () => {
  await browser.close();
  await app.close();
});

const story = ['discovery', 'request', 'response', 'key', 'token', 'id-token', 'userinfo'];

test('a person signs in and allows it, and sees every step of it with what was checked', async () => {
  const account = await registerAccount(app);
  const { page } = await visitSpa(browser, spa);
  const asked = requestsTo(page, '/oidc/auth');
  await signInAtSpa(page, account);
  expect(await page.locator('main').textContent()).toContain(account.email);
  expect(await stepsOf(page)).toEqual(story);
  expect(await page.locator('.checks li').allTextContents()).toEqual([
    ...['state matches', 'iss matches'],
    ...['signature verified', 'iss matches', 'aud matches', 'nonce matches', 'not expired'],
    'sub matches',
  ]);
  const parameters = new URL(asked[0]?.url() ?? '').searchParams;
  expect(Object.fromEntries(parameters)).toMatchObject({ response_type: 'code', code_challenge_method: 'S256' });
  for (const name of ['state', 'nonce', 'code_challenge']) expect(parameters.get(name)?.length).toBeGreaterThan(40);
  expect(await page.locator('[data-step=token] summary').allTextContents()).toEqual([
    'POST /oidc/token 400',
    'POST /oidc/token 200',
  ]);
  expect(page.url()).toBe(`${spa.origin}/`);
});

test('no token is in storage, a cookie, the address, the page or its history', async () => {
  const { page, context } = await visitSpa(browser, spa);
  const issued = nextTokens(page);
  await signInAtSpa(page, await registerAccount(app), { stay: true });
  const tokens = await issued;
  const kept = await page.evaluate<string>(`(async () => JSON.stringify([
    { ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state, name,
    await indexedDB.databases(), await caches.keys(), document.documentElement.outerHTML,
    Object.values(window).filter((value) => typeof value === 'string'),
  ]))()`);
  const cookies = JSON.stringify(await context.cookies());
  for (const token of [tokens.access_token, tokens.refresh_token ?? '', tokens.id_token]) {
    expect(token.length).toBeGreaterThan(20);
    expect(kept).not.toContain(token);
    expect(cookies).not.toContain(token);
  }
  expect(await page.evaluate('({ ...sessionStorage })')).toEqual({ 'lamplight:signed-in': 'yes' });
});

test('a stolen access or refresh token is refused without the key, and with another key', async () => {
  const { page } = await visitSpa(browser, spa);
  const issued = nextTokens(page);
  await signInAtSpa(page, await registerAccount(app), { stay: true });
  const { access_token, refresh_token = '' } = await issued;
  const thief = await createProofKey();
  const userinfo = `${app.issuer}/userinfo`;
  const nonceFor = async (url: string, init: RequestInit) =>
    (await fetch(url, init)).headers.get('dpop-nonce') ?? expect.fail('no nonce');

  const withProof = (proof: string) => ({ headers: { authorization: `DPoP ${access_token}`, dpop: proof } });
  const claims = { htm: 'GET', ath: ath(access_token) };
  const nonce = await nonceFor(userinfo, withProof(await thief.prove(userinfo, claims)));
  const challengeOf = async (init: RequestInit) => {
    const { status, headers } = await fetch(userinfo, init);
    return `${status} ${headers.get('www-authenticate')}`;
  };
  const otherKey = withProof(await thief.prove(userinfo, { ...claims, nonce }));
  expect(await challengeOf(otherKey)).toMatch(/^401 DPoP .*error="invalid_token"/);
  expect(await challengeOf({ headers: { authorization: `Bearer ${access_token}` } })).toMatch(
    /^401 DPoP .*error="invalid_token"/,
  );
  // A header that has to be there and is not makes the request a malformed one (RFC 6750 §3.1).
  expect(await challengeOf({ headers: { authorization: `DPoP ${access_token}` } })).toMatch(
    /^400 DPoP .*error="invalid_request"/,
  );

  const clientId = await page.locator('[data-step=id-token] dt:has-text("aud") + dd code').textContent();
  const refresh = async (proof?: string) =>
    fetch(`${app.issuer}/token`, {
      method: 'POST',
      headers: { ...(proof && { dpop: proof }) },
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token, client_id: clientId ?? '' }),
    });
  const refused = await refresh(await thief.prove(`${app.issuer}/token`, { nonce }));
  expect([refused.status, ((await refused.json()) as { error: string }).error]).toEqual([400, 'invalid_grant']);
  expect((await refresh()).status).toBe(400);

  await press(page, 'Try it without the key');
  await page.locator('[data-step=without-key] .checks', { hasText: 'refused' }).waitFor();
  await press(page, 'Ask who I am');
  await page.locator('[data-step=userinfo] .checks').nth(1).waitFor();
});

test('a reload signs in again without a page, as long as the person is signed in at Latchkey', async () => {
  const { page, context } = await visitSpa(browser, spa);
  await signInAtSpa(page, await registerAccount(app));
  const asked = requestsTo(page, '/oidc/auth');
  await page.reload();
  await expectHeading(page, greeting);
  expect(asked.map((request) => new URL(request.url()).searchParams.get('prompt'))).toEqual(['none']);

  await context.clearCookies();
  await page.reload();
  expect(await alertOf(page)).toContain('You’re not signed in there any more.');
  await page.reload();
  await page.getByRole('button', { name: 'Sign in with Latchkey' }).waitFor();
  expect(asked).toHaveLength(2);
});

test('a tab in which nobody signed in asks nothing by itself, and two tabs sign in side by side', async () => {
  const { page, context } = await visitSpa(browser, spa);
  const asked = requestsTo(page, '/oidc/auth');
  await page.reload();
  await page.getByRole('button', { name: 'Sign in with Latchkey' }).waitFor();
  expect(asked).toEqual([]);
  const second = await context.newPage();
  await second.goto(spa.origin);
  const account = await registerAccount(app);
  await press(page, 'Sign in with Latchkey');
  await page.locator('form#login').waitFor();
  await signInAtSpa(second, account);
  await page.reload();
  await expectHeading(page, greeting);
});

test('refreshing rotates the refresh token, and an access token that ran out is replaced by itself', async () => {
  const account = await registerAccount(app);
  const { page } = await visitSpa(browser, spa);
  const first = nextTokens(page);
  await signInAtSpa(page, account, { stay: true });
  const second = nextTokens(page);
  const asked = requestsTo(page, '/oidc/token');
  // Pressed twice at once, it is done twice, one after the other: no refresh token is sent twice.
  await page.locator('#refresh').dblclick();
  await page.locator('[data-step=refresh]').nth(1).waitFor();
  expect((await second).refresh_token).not.toBe((await first).refresh_token);
  const sent = asked.map((request) => new URLSearchParams(request.postData() ?? '').get('refresh_token'));
  expect([sent[0], new Set(sent).size]).toEqual([(await first).refresh_token, 2]);

  await queryDatabase(
    app.databaseUrl,
    `update oidc_grants set expires_at = now() - interval '1 minute' where model = 'AccessToken' and account_id = '${account.sub}'`,
  );
  await press(page, 'Ask who I am');
  await page.locator('[data-step=userinfo] .checks').nth(1).waitFor();
  expect((await stepsOf(page)).slice(story.length)).toEqual(['refresh', 'refresh', 'userinfo', 'refresh', 'userinfo']);
  expect(await page.locator('[data-step] .problem').allTextContents()).toEqual([
    'Latchkey answered 401. The access token isn’t good any more.',
  ]);
});

test('keys that Latchkey rotated meanwhile are taken', async () => {
  const { page } = await visitSpa(browser, spa);
  await signInAtSpa(page, await registerAccount(app));
  const encryption = createEncryption([Buffer.from(app.env.OIDC_ENCRYPTION_KEY ?? '', 'base64')]);
  await rotateKeys(app.database.db, encryption, ['ES256'], { force: true });
  await app.app.reload();
  await page.reload();
  await expectHeading(page, greeting);
  expect(await page.locator('[data-step=id-token] .checks').textContent()).toContain('signature verified');
});

test('signing out ends the session here and there, and gives the refresh token back', async () => {
  const { page } = await visitSpa(browser, spa);
  await signInAtSpa(page, await registerAccount(app), { stay: true });
  const revocation = page.waitForResponse(`${app.issuer}/revocation`);
  await press(page, 'Sign out');
  await page.locator('#logout-confirm').click();
  expect((await revocation).status()).toBe(200);
  expect(await alertOf(page)).toContain('This app has forgotten you.');
  expect(page.url()).toBe(`${spa.origin}/`);
  expect(await page.evaluate('({ ...sessionStorage })')).toEqual({});
  await press(page, 'Sign in with Latchkey');
  await page.locator('form#login').waitFor();
});

test('axe-core finds nothing, light and dark, and nothing sticks out at 320 px', async () => {
  const context = { reducedMotion: 'reduce', viewport: { width: 1280, height: 900 } } as const;
  const visitor = await visitSpa(browser, spa, { context });
  const { page } = visitor;
  await visitor.context.addInitScript(
    readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'),
  );
  await page.goto(`${spa.origin}/callback?code=none&state=none`);
  await page.getByRole('alert').waitFor();
  await expectAccessible(page);
  await signInAtSpa(page, await registerAccount(app), { stay: true });
  await press(page, 'Try it without the key');
  await page.locator('[data-step=without-key]').waitFor();
  for (const summary of await page.locator('summary').all()) await summary.click();
  await expectAccessible(page);
});

async function expectAccessible(page: Page): Promise<void> {
  for (const [width, colorScheme] of [
    [1280, 'light'],
    [320, 'dark'],
  ] as const) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme });
    const { violations } = await page.evaluate<AxeResults>("axe.run({ resultTypes: ['violations'] })");
    const found = violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => [id, html, failureSummary]),
    );
    expect(found, `${width} px, ${colorScheme}`).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
  }
}

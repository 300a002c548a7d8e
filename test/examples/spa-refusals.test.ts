/** examples/spa when something is wrong: answers that are not to be used, a person who says no, a provider that is away. */

import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectHeading, press, signIn } from '../browser/steps.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { registerAccount } from '../support/relying-party.ts';
import { alertOf, greeting, requestsTo, type Spa, signInAtSpa, startSpa, stepsOf, visitSpa } from './spa-visitor.ts';

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

/** Goes to Latchkey and no further; answers what it would send the browser back with, but for the code. */
async function halfWay(page: Page): Promise<URL> {
  const asked = requestsTo(page, '/oidc/auth');
  await press(page, 'Sign in with Latchkey');
  await page.locator('form#login').waitFor();
  const state = new URL(asked[0]?.url() ?? '').searchParams.get('state') ?? '';
  return new URL(`${spa.origin}/callback?${new URLSearchParams({ code: 'guessed', state, iss: app.issuer })}`);
}

const untrusted = 'That answer isn’t one to trust. Nothing in it was used:';

test.each([
  ['a forged state', { state: 'forged' }, `${untrusted} unexpected "state" response parameter value.`],
  ['no state', { state: undefined }, `${untrusted} response parameter "state" missing.`],
  [
    'the name of another issuer',
    { iss: 'https://elsewhere.example' },
    `${untrusted} unexpected "iss" (issuer) response parameter value.`,
  ],
  ['no issuer', { iss: undefined }, `${untrusted} response parameter "iss" (issuer) missing.`],
  ['a code that was not issued', {}, 'Latchkey answered invalid_grant. grant request is invalid'],
])('a callback with %s signs nobody in, and the button goes on', async (_what, changed, says) => {
  const { page } = await visitSpa(browser, spa);
  const answer = await halfWay(page);
  for (const [name, value] of Object.entries(changed)) {
    if (value === undefined) answer.searchParams.delete(name);
    else answer.searchParams.set(name, value);
  }
  const redeemed = requestsTo(page, '/oidc/token');
  await page.goto(answer.href);
  expect(await alertOf(page)).toBe(says);
  // Once without and once with the nonce, or not at all.
  expect(redeemed).toHaveLength(says.startsWith(untrusted) ? 0 : 2);
  expect(page.url()).toBe(`${spa.origin}/`);
  await press(page, 'Sign in with Latchkey');
  await page.locator('form#login').waitFor();
});

test('a callback that is opened again, or that nobody asked for, is not used', async () => {
  const { page, context } = await visitSpa(browser, spa);
  const callbacks = requestsTo(page, '/callback');
  await signInAtSpa(page, await registerAccount(app));
  const used = callbacks[0]?.url() ?? '';
  const redeemed = requestsTo(page, '/oidc/token');
  await page.goto(used);
  expect(await alertOf(page)).toContain('This page isn’t waiting for that answer.');
  expect(redeemed).toEqual([]);
  // The way on is quick: Latchkey knows the person still.
  await press(page, 'Sign in with Latchkey');
  await expectHeading(page, greeting);
  const silent = page.waitForRequest((request) => request.url().includes('prompt=none'));
  await page.evaluate('history.back()');
  await silent;
  await expectHeading(page, greeting);
  const other = await context.newPage();
  await other.goto(`${spa.origin}/callback?code=x&state=y&iss=${encodeURIComponent(app.issuer)}`);
  expect(await alertOf(other)).toContain('Nothing in it was used.');
});

test('a person who does not allow it is told so, and can try again', async () => {
  const { page } = await visitSpa(browser, spa);
  await press(page, 'Sign in with Latchkey');
  await signIn(page, await registerAccount(app));
  await press(page, 'Don’t allow');
  expect(await alertOf(page)).toBe('You didn’t allow it. This app learned nothing about you. You can sign in again.');
  expect(await stepsOf(page)).toEqual(['discovery', 'request', 'response']);
  await press(page, 'Sign in with Latchkey');
  await press(page, 'Allow');
  await expectHeading(page, greeting);
});

test('access that was taken back ends the sign-in here, with a way to the next', async () => {
  const { page, context } = await visitSpa(browser, spa);
  await signInAtSpa(page, await registerAccount(app), { stay: true });
  const apps = await context.newPage();
  await apps.goto(`${app.origin}/account/apps`);
  await apps.getByRole('button', { name: 'Disconnect' }).click();
  await apps.getByText('Nothing connected yet').waitFor();
  await press(page, 'Ask who I am');
  expect(await alertOf(page)).toContain('You’re signed out here.');
  expect((await stepsOf(page)).slice(-2)).toEqual(['userinfo', 'refresh']);
  await press(page, 'Sign in with Latchkey');
  await press(page, 'Allow');
  await expectHeading(page, greeting);
});

describe.each([
  [
    'is stopped',
    (context: BrowserContext) => context.route(`${app.origin}/**`, (route) => route.abort('connectionrefused')),
  ],
  [
    'answers 503',
    (context: BrowserContext) =>
      context.route(`${app.origin}/**`, (route) =>
        route.fulfill({
          status: 503,
          headers: { 'access-control-allow-origin': '*' },
          json: { error: 'server_error' },
        }),
      ),
  ],
])('while Latchkey %s', (_what, stop) => {
  const expected = /net::ERR_(CONNECTION_REFUSED|FAILED)|status of 503/;
  const away = 'Latchkey isn’t answering.';

  test('the app says so on its own page at sign-in, at the callback and at a reload, and recovers by itself', async () => {
    const { page, context } = await visitSpa(browser, spa, { expected });
    await stop(context);
    await press(page, 'Sign in with Latchkey');
    expect(await alertOf(page)).toContain(away);
    await context.unrouteAll();
    const answer = await halfWay(page);
    await stop(context);
    await page.goto(answer.href);
    expect(await alertOf(page)).toContain(away);
    await context.unrouteAll();
    await signInAtSpa(page, await registerAccount(app));

    await stop(context);
    await page.reload();
    expect(await alertOf(page)).toContain(away);
    await context.unrouteAll();
    await page.reload();
    await expectHeading(page, greeting);
  });

  test('nobody is signed out by it, unless they want to be', async () => {
    const { page, context } = await visitSpa(browser, spa, { expected });
    await signInAtSpa(page, await registerAccount(app));
    await stop(context);
    await press(page, 'Ask who I am');
    expect(await page.locator('[data-step=userinfo] .problem').textContent()).toContain(away);
    await context.unrouteAll();
    await press(page, 'Ask who I am');
    await page.locator('[data-step=userinfo]').nth(2).locator('.checks').waitFor();

    await stop(context);
    await press(page, 'Sign out');
    expect(await alertOf(page)).toBe(
      `This app has forgotten you. But the other half failed, so you may still be signed in there: ${away}`,
    );
  });
});

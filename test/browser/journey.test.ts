/** A person's way through sign-in, consent and sign-out in Chromium, between sites that are strangers to each other. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { password, registerAccount } from '../support/relying-party.ts';
import { type ClientSite, startClientSite } from './client-site.ts';
import { expectAt, expectHeading, focused, follow, press, signIn } from './steps.ts';
import { visit, watch } from './visitor.ts';

let app: TestApp;
let browser: Browser;
let library: ClientSite;
let bicycles: ClientSite;

beforeAll(async () => {
  [app, browser] = await Promise.all([startApp(), launchBrowser()]);
  [library, bicycles] = await Promise.all([
    startClientSite(app, 'Fernwood Library'),
    startClientSite(app, 'Kestrel Cycling'),
  ]);
});
afterAll(async () => {
  await browser.close();
  await Promise.all([library.close(), bicycles.close()]);
  await app.close();
});

describe.each([
  { how: 'with JavaScript', javaScriptEnabled: true },
  { how: 'without JavaScript', javaScriptEnabled: false },
])('$how', ({ javaScriptEnabled }) => {
  test('a person registers on the way to one client, needs no password at the next, and signs out of both', async () => {
    const { page } = await visit(browser, { javaScriptEnabled });
    await page.goto(library.origin);
    await follow(page, 'Sign in');
    await expectHeading(page, 'Sign in');
    await follow(page, 'Create an account');
    await page.getByLabel('Name').fill('Ada Moreno');
    await page.getByLabel('Email').fill(`ada-${javaScriptEnabled}@moreno.example`);
    await page.getByLabel('Password', { exact: true }).fill(password);
    await press(page, 'Create account');
    await expectHeading(page, 'Fernwood Library wants to use your account');
    await press(page, 'Allow');
    await expectAt(page, library, 'Signed in as Ada Moreno');

    await page.goto(bicycles.origin);
    await follow(page, 'Sign in');
    await expectHeading(page, 'Kestrel Cycling wants to use your account');
    await press(page, 'Allow');
    await expectAt(page, bicycles, 'Signed in as Ada Moreno');

    await page.goto(library.origin);
    await follow(page, 'Sign out');
    await expectHeading(page, 'Sign out?');
    await press(page, 'Sign out');
    await expectAt(page, library, 'Goodbye, state bye');
    for (const site of [library, bicycles]) {
      await page.goto(site.origin);
      await expectAt(page, site, 'Nobody is signed in');
      await follow(page, 'Sign in');
      await expectHeading(page, 'Sign in');
    }
  });

  test('form_post carries the response to another site', async () => {
    const { email } = await registerAccount(app);
    const { page } = await visit(browser, { javaScriptEnabled });
    const goOn = async () => (javaScriptEnabled ? undefined : press(page, 'Continue'));
    await page.goto(`${library.origin}/sign-in?response_mode=form_post`);
    await signIn(page, { email });
    await press(page, 'Allow');
    await goOn();
    await expectAt(page, library, 'Signed in as Ada Moreno');
    await page.goto(`${library.origin}/sign-in?response_mode=form_post&prompt=consent`);
    await press(page, 'Don’t allow');
    await goOn();
    await expectAt(page, library, 'Refused: access_denied');
  });

  test('cancelling the sign-in and refusing consent lead back to the client', async () => {
    const { email } = await registerAccount(app);
    const { page } = await visit(browser, { javaScriptEnabled });
    await page.goto(`${library.origin}/sign-in`);
    await press(page, 'Cancel and go back to Fernwood Library');
    await expectAt(page, library, 'Refused: access_denied');
    await follow(page, 'Sign in');
    await signIn(page, { email });
    await press(page, 'Don’t allow');
    await expectAt(page, library, 'Refused: access_denied');
  });

  test('a client may ask to sign out when nobody is signed in any more', async () => {
    const { page } = await visit(browser, { javaScriptEnabled });
    await page.goto(`${library.origin}/sign-in`);
    await signIn(page, await registerAccount(app));
    await press(page, 'Allow');
    await expectAt(page, library, 'Signed in as Ada Moreno');
    await page.goto(`${app.origin}/account`);
    await press(page, 'Sign out');
    await page.waitForURL(`${app.origin}/`);
    await page.goto(`${library.origin}/sign-out`);
    if (!javaScriptEnabled) await press(page, 'Continue');
    await expectAt(page, library, 'Goodbye, state bye');
  });

  test('a policy that blocked the way back would be noticed by these tests', async () => {
    const visitor = await watch(browser, { javaScriptEnabled });
    await visitor.page.goto(`${library.origin}/sign-in`);
    await visitor.page.route(`${app.origin}/auth/interaction/*`, async (route) => {
      const response = await route.fetch();
      const headers = { ...response.headers(), 'content-security-policy': "form-action 'self'" };
      await route.fulfill({ response, headers });
    });
    await visitor.page.reload();
    await press(visitor.page, 'Cancel and go back to Fernwood Library');
    await expect.poll(() => visitor.complaints.join(), { timeout: 10_000 }).toContain('form-action');
    await visitor.context.close();
  });
});

test('who stays signed in at sign-out lands at the client and is asked nothing the next time', async () => {
  const { email } = await registerAccount(app);
  const { page } = await visit(browser);
  await page.goto(`${library.origin}/sign-in`);
  await signIn(page, { email });
  await press(page, 'Allow');
  await expectAt(page, library, 'Signed in as Ada Moreno');
  await follow(page, 'Sign out');
  await press(page, 'Stay signed in');
  await page.waitForURL(`${library.origin}/signed-out?**`);
  await follow(page, 'Sign in');
  await expectAt(page, library, 'Signed in as Ada Moreno');
});

test('another account can be used from the consent page', async () => {
  const [ada, bob] = [await registerAccount(app), await registerAccount(app, { name: 'Bob Okafor' })];
  const { page } = await visit(browser);
  await page.goto(`${library.origin}/sign-in`);
  await signIn(page, ada);
  await follow(page, 'Use another account');
  expect(await page.getByLabel('Email').inputValue()).toBe('');
  await signIn(page, bob);
  expect(await page.locator('form#consent').textContent()).toContain(bob.email);
  await press(page, 'Allow');
  await expectAt(page, library, 'Signed in as Bob Okafor');
});

test('a wrong password says so, keeps the address and can be mended', async () => {
  const { email } = await registerAccount(app);
  const { page } = await visit(browser);
  await page.goto(`${library.origin}/sign-in`);
  await signIn(page, { email, password: 'not the password' });
  expect(await page.getByRole('alert').textContent()).toContain('That email and password don’t match.');
  expect(await page.title()).toMatch(/^Problem: /);
  expect(await focused(page)).toBe('password');
  expect(await page.getByLabel('Email').inputValue()).toBe(email);
  expect(await page.getByLabel('Password', { exact: true }).inputValue()).toBe('');
  await page.keyboard.type(password);
  await page.keyboard.press('Enter');
  await press(page, 'Allow');
  await expectAt(page, library, 'Signed in as Ada Moreno');
});

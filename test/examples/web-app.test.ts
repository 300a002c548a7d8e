/** examples/web-app as its reader meets it: in a browser, from the front page to a card that wants two steps, and out again. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { expectHeading, follow, press, signIn } from '../browser/steps.ts';
import { visit } from '../browser/visitor.ts';
import { launchBrowser } from '../support/browser.ts';
import { password, registerAccount } from '../support/relying-party.ts';
import { authenticatorOf } from '../support/two-step-person.ts';
import { createReader, isKnown, type Library, startLibrary, visitLibrary } from './library.ts';

let library: Library;
let browser: Browser;

beforeAll(async () => {
  // Every profile renews its access token: an hour is always shorter than this.
  [library, browser] = await Promise.all([startLibrary({ RENEW_BEFORE: '4000' }), launchBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await library.close();
});

test('a newcomer signs in, shows two steps for the night card, and signs out; no address on the way in holds a token', async () => {
  const { page, context } = await visit(browser);
  const addresses: string[] = [];
  page.on('request', (request) => void addresses.push(request.url()));

  await page.goto(library.origin);
  await follow(page, 'Sign in with Latchkey');
  await follow(page, 'Create an account');
  await page.getByLabel('Name').fill('Ada Moreno');
  await page.getByLabel('Email').fill('ada@moreno.example');
  await page.getByLabel('Password', { exact: true }).fill(password);
  await press(page, 'Create account');
  await expectHeading(page, 'Fernwood Library wants to use your account');
  await page.getByLabel('Stay connected while you’re away').check();
  await press(page, 'Allow');

  await expectHeading(page, 'Your profile');
  expect(page.url()).toBe(`${library.origin}/profile`);
  expect(await page.locator('#acr').textContent()).toBe('urn:latchkey:acr:pwd');
  expect(await page.getByText('ada@moreno.example').count()).toBe(1);
  await page.reload();
  expect(await page.locator('#renewals').textContent()).toBe('Renewed 2 times');
  await follow(page, 'Borrowing history');
  await expectHeading(page, 'Borrowing history');

  await follow(page, 'Night card');
  await expectHeading(page, 'One more step');
  await page.locator('#set-up-cancel').click();
  await expectHeading(page, 'Nothing has changed');
  expect(await page.getByRole('alert').textContent()).toContain('signed in as Ada Moreno, as before');
  await follow(page, 'Try again');
  await follow(page, 'Set up two-step sign-in');
  await page.getByLabel('Six-digit code').fill(authenticatorOf(await page.content())());
  await press(page, 'Turn on');
  await follow(page, 'I’ve kept them safe');
  await expectHeading(page, 'Night card');
  await follow(page, 'Profile');
  // The refresh token of the first sign-in still works after the second, which did not ask for one.
  expect(await page.locator('#renewals').textContent()).toMatch(/^Renewed [1-9]/);
  expect(await page.locator('#acr').textContent()).toBe('urn:latchkey:acr:mfa');

  const kept = (await context.cookies()).filter(({ name }) => name.startsWith('fernwood_'));
  expect(kept.map(({ httpOnly, sameSite }) => ({ httpOnly, sameSite }))).toEqual(
    kept.map(() => ({ httpOnly: true, sameSite: 'Lax' })),
  );
  expect(kept.map(({ name }) => name).sort()).toEqual(['fernwood_browser', 'fernwood_session']);
  expect(addresses.filter((address) => /token|eyJ/.test(address))).toEqual([]);

  await press(page, 'Sign out');
  await expectHeading(page, 'Sign out?');
  await press(page, 'Sign out');
  await expectHeading(page, 'You’re signed out');
  await page.goBack();
  await page.goto(`${library.origin}/profile`);
  await expectHeading(page, 'Sign in');
});

describe('who does not want to', () => {
  test('gets a page that leads on, from consent and from the sign-in page', async () => {
    const { page } = await visit(browser, { javaScriptEnabled: false });
    await page.goto(`${library.origin}/sign-in?return_to=/card`);
    await press(page, 'Cancel and go back to Fernwood Library');
    await expectHeading(page, 'You didn’t sign in');
    await follow(page, 'Try again');
    await signIn(page, await registerAccount(library.app));
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.goto(`${library.origin}/sign-in`);
    await press(page, 'Don’t allow');
    await expectHeading(page, 'You didn’t sign in');
    await follow(page, 'Front page');
    await follow(page, 'Sign in with Latchkey');
  });

  test('to stay connected is asked again when the access token has run out', async () => {
    const reader = createReader(library);
    const account = await registerAccount(library.app);
    const ended = await visitLibrary(reader, account, { scopes: ['openid', 'profile', 'email'] });
    expect([ended.status, ended.html.includes('Your visit has ended')]).toEqual([403, true]);
    expect(ended.html).toContain('href="/profile"');
    expect(await isKnown(reader)).toBe(false);
  });
});

describe('a session that ends at Latchkey', () => {
  test.each(['/auth/logout', '/account/sign-out'])(
    'by POST %s ends at the library, in that browser alone or in all',
    async (path) => {
      const account = await registerAccount(library.app);
      const [here, there] = [createReader(library), createReader(library)];
      await visitLibrary(here, account);
      await visitLibrary(there, account);
      const headers = { origin: library.app.origin, 'sec-fetch-site': 'same-origin' };
      const { status } = await here.latchkey.request(path, { method: 'POST', headers });
      expect(status).toBeLessThan(400);
      await vi.waitFor(async () => expect(await isKnown(here)).toBe(false), { timeout: 10_000 });
      if (path === '/auth/logout') expect(await isKnown(there)).toBe(true);
      else await vi.waitFor(async () => expect(await isKnown(there)).toBe(false), { timeout: 10_000 });
    },
  );
});

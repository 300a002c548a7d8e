/** Signing in and deciding with the keyboard alone, and what the fields tell password managers. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { password, registerAccount } from '../support/relying-party.ts';
import { type ClientSite, startClientSite } from './client-site.ts';
import { expectAt, expectHeading, fillSignIn, focused, press, signIn } from './steps.ts';
import { visit } from './visitor.ts';

let app: TestApp;
let browser: Browser;
let library: ClientSite;

beforeAll(async () => {
  [app, browser] = await Promise.all([startApp(), launchBrowser()]);
  library = await startClientSite(app, 'Fernwood Library');
});
afterAll(async () => {
  await browser.close();
  await library.close();
  await app.close();
});

/** Presses Tab, checks that what is focused now shows it, and says what that is. */
async function tab(page: Page): Promise<string> {
  await page.keyboard.press('Tab');
  const ring = await page.evaluate<{ style: string; width: number; visible: boolean }>(`(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    const { width, top, bottom } = document.activeElement.getBoundingClientRect();
    const visible = width > 1 && top >= 0 && bottom <= innerHeight;
    return { style: outlineStyle, width: Number.parseFloat(outlineWidth), visible };
  })()`);
  expect(ring).toMatchObject({ style: 'solid', visible: true });
  expect(ring.width).toBeGreaterThanOrEqual(2);
  const { id, text } = await page.evaluate<{ id: string; text: string }>(
    '({ id: document.activeElement.id, text: document.activeElement.textContent })',
  );
  return id || text;
}

async function tabTo(page: Page, name: string): Promise<void> {
  const seen: string[] = [];
  while (seen.at(-1) !== name && seen.length < 20) seen.push(await tab(page));
  expect(seen).toContain(name);
}

test('sign-in and consent need no mouse: email, password, Show, Sign in, and each stop is to be seen', async () => {
  const { email } = await registerAccount(app);
  const { page } = await visit(browser);
  await page.goto(`${library.origin}/sign-in`);
  expect(await tab(page)).toBe('email');
  await page.keyboard.type(email);
  expect(await tab(page)).toBe('password');
  await page.keyboard.type(password);
  expect(await tab(page)).toBe('Show password');
  expect(await tab(page)).toBe('login-submit');
  await page.keyboard.press('Enter');

  await page.waitForSelector('form#consent');
  expect(await tab(page)).toBe('Use another account');
  expect(await tab(page)).toBe('scope-profile');
  expect(await tab(page)).toBe('scope-email');
  await page.keyboard.press('Space');
  expect(await page.getByLabel('See your email address').isChecked()).toBe(false);
  expect(await tab(page)).toBe('consent-deny');
  expect(await tab(page)).toBe('consent-approve');
  await page.keyboard.press('Enter');
  await expectAt(page, library, 'Signed in as Ada Moreno');
});

test('Enter among the scopes does not grant them', async () => {
  const { page } = await visit(browser);
  await page.goto(`${library.origin}/sign-in`);
  await signIn(page, await registerAccount(app));
  await page.waitForSelector('form#consent');
  await tabTo(page, 'scope-profile');
  await page.keyboard.press('Enter');
  await expectAt(page, library, 'Refused: access_denied');
});

test('Enter in a field sends the form, and a problem puts the cursor on the field to mend', async () => {
  const { page } = await visit(browser);
  await page.goto(`${app.origin}/auth/login`);
  await fillSignIn(page, await registerAccount(app, { name: 'Bob Okafor' }));
  await page.keyboard.press('Enter');
  await page.waitForURL(`${app.origin}/account`);
  await expectHeading(page, 'Bob Okafor');

  await page.goto(`${app.origin}/account/profile`);
  await page.getByLabel('Birthday').fill('yesterday');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[role="alert"]');
  expect(await page.title()).toMatch(/^Problem: Your profile/);
  expect(await focused(page)).toBe('birthdate');
  expect(await page.getByLabel('Birthday').inputValue()).toBe('yesterday');
  const described = await page.getByLabel('Birthday').getAttribute('aria-describedby');
  expect(described).toBe('birthdate-wrong birthdate-hint');
});

test('the first stop on a desk page is the way past its bar', async () => {
  const { page } = await visit(browser);
  await page.goto(app.origin);
  expect(await tab(page)).toBe('Skip to content');
  await page.keyboard.press('Enter');
  expect(new URL(page.url()).hash).toBe('#main');
  expect(await tab(page)).toBe('Create an account');
});

test('Show reveals the password, says that it does, and hides it again before it is sent', async () => {
  const { page } = await visit(browser);
  await page.goto(`${app.origin}/auth/login`);
  await fillSignIn(page, await registerAccount(app));
  const field = page.getByLabel('Password', { exact: true });
  const toggle = page.getByRole('button', { name: /^(Show|Hide) password$/ });
  expect(await toggle.getAttribute('aria-pressed')).toBe('false');
  await toggle.click();
  expect(await field.getAttribute('type')).toBe('text');
  expect(await toggle.getAttribute('aria-pressed')).toBe('true');
  expect(await toggle.textContent()).toBe('Hide password');
  expect(await field.inputValue()).toBe(password);
  await page.evaluate("document.forms.login.addEventListener('submit', (event) => event.preventDefault())");
  await press(page, 'Sign in');
  expect(await field.getAttribute('type')).toBe('password');
  expect(await toggle.textContent()).toBe('Show password');
});

test('without scripts there is no control that would do nothing', async () => {
  const { page } = await visit(browser, { javaScriptEnabled: false });
  await page.goto(`${app.origin}/auth/login`);
  const enhancements = await page.locator('[data-enhance]').all();
  expect(enhancements).not.toHaveLength(0);
  for (const control of enhancements) expect(await control.isVisible()).toBe(false);
});

test.each([
  ['/auth/login', { email: 'username', password: 'current-password' }],
  ['/auth/register', { name: 'name', email: 'email', password: 'new-password' }],
])('%s tells password managers what each field is', async (path, expected) => {
  const { page } = await visit(browser);
  await page.goto(`${app.origin}${path}`);
  const found: Record<string, string | null> = {};
  for (const field of await page.locator('input:visible').all()) {
    found[String(await field.getAttribute('name'))] = await field.getAttribute('autocomplete');
  }
  expect(found).toEqual(expected);
});

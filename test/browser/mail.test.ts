/** Proving an address in a real browser, the mails read from the outbox page as a newcomer does. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startAppForTest, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { readLink } from '../support/mailbox.ts';
import { password } from '../support/relying-party.ts';
import { expectHeading, focused, press } from './steps.ts';
import { type Visitor, visit } from './visitor.ts';

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

const email = 'ada@moreno.example';

async function register({ page }: Visitor, app: TestApp): Promise<void> {
  await page.goto(`${app.origin}/auth/register`);
  await page.getByLabel('Name').fill('Ada Moreno');
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await press(page, 'Create account');
}

test('a newcomer confirms the address with the link in the outbox, and the account page says so', async () => {
  const app = await startAppForTest();
  const visitor = await visit(browser);
  const { page } = visitor;
  await register(visitor, app);
  await page.getByText('Confirm your email address.').waitFor();
  await page.getByRole('link', { name: 'the outbox' }).click();
  await expectHeading(page, 'Outbox');
  await page.getByRole('link', { name: '/auth/verify-email?token=' }).click();
  await expectHeading(page, 'Confirm your email address');
  await press(page, 'Confirm my address');
  await page.getByRole('status').getByText('Your email address is confirmed.').waitFor();
  await page.getByText('Verified', { exact: true }).waitFor();
  expect(await page.getByText('Confirm your email address.').count()).toBe(0);
  // Back and once more: done already.
  await page.goto(await readLink(app, email, 'verify-email'));
  await page.getByRole('status').getByText('Your email address is confirmed.').waitFor();
});

test('where accounts need a proven address, the phone on which the mail is read asks for the password', async () => {
  const app = await startAppForTest({ env: { ACCOUNT_REGISTRATION: 'verified' } });
  const laptop = await visit(browser);
  await register(laptop, app);
  await expectHeading(laptop.page, 'Check your email');
  const { page } = await visit(browser, { viewport: { width: 390, height: 844 } });
  await page.goto(await readLink(app, email, 'register'));
  await expectHeading(page, 'Create your account');
  expect(await focused(page)).toBe('password');
  await page.keyboard.type('not that one');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText('That’s not the password that was chosen.').waitFor();
  expect(await focused(page)).toBe('password');
  await page.keyboard.type(password);
  await page.keyboard.press('Enter');
  await expectHeading(page, 'Ada Moreno');
  await laptop.page.goto(`${app.origin}/auth/login`);
  await expectHeading(laptop.page, 'Sign in');
});

test('in the browser with the form one button makes the account', async () => {
  const app = await startAppForTest({ env: { ACCOUNT_REGISTRATION: 'verified' } });
  const visitor = await visit(browser);
  await register(visitor, app);
  await visitor.page.goto(await readLink(app, email, 'register'));
  await press(visitor.page, 'Create my account');
  await expectHeading(visitor.page, 'Ada Moreno');
});

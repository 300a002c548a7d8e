/** A person looks after an account in Chromium: sees and ends sign-ins, takes a copy of the data, leaves, and comes back. */
import { readFile } from 'node:fs/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { ageSignIns } from '../support/old-sign-in.ts';
import { password, registerAccount } from '../support/relying-party.ts';
import { expectHeading, focused, follow, press, signIn } from './steps.ts';
import { visit } from './visitor.ts';

let app: TestApp;
let browser: Browser;

beforeAll(async () => {
  [app, browser] = await Promise.all([startApp(), launchBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await app.close();
});

type Account = Awaited<ReturnType<typeof registerAccount>>;

async function signedIn(page: Page, account: Account, path = '/account'): Promise<void> {
  await page.goto(app.origin + path);
  await signIn(page, account);
  await page.waitForURL(app.origin + path);
}

const rows = (page: Page) => page.getByRole('main').getByRole('listitem');
const side = (page: Page, name: string) =>
  page.getByRole('navigation', { name: 'Account' }).getByRole('link', { name, exact: true }).click();

describe.each([true, false])('with JavaScript: %s', (javaScriptEnabled) => {
  test('both browsers are seen, and one is signed out from the other', async () => {
    const account = await registerAccount(app);
    const [{ page }, { page: phone }] = [
      await visit(browser, { javaScriptEnabled }),
      await visit(browser, {
        javaScriptEnabled,
        userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5 Mobile/15E148 Safari/604.1',
      }),
    ];
    await signedIn(page, account);
    await side(page, 'Where you’re signed in');
    await expectHeading(page, 'Where you’re signed in');
    // The one in which the account was made.
    await press(page, 'Sign out of all others');
    await page.getByRole('status').waitFor();
    await signedIn(phone, account);
    await page.goto(`${app.origin}/account/sessions`);
    expect(await rows(page).count()).toBe(2);
    expect(await rows(page).first().textContent()).toMatch(/Chrome on Linux This browser/);
    expect(await rows(page).nth(1).textContent()).toMatch(/Safari on iPhone.*127\.0\.0\.1/);
    await press(page, 'Sign out of Safari on iPhone');
    await page.getByRole('status').waitFor();
    expect(await rows(page).count()).toBe(1);
    await phone.reload();
    await expectHeading(phone, 'Sign in');
    await side(page, 'Activity');
    expect(await rows(page).first().textContent()).toContain('You signed out of one browser.');
  });

  test('an old sign-in is confirmed, the data is downloaded, the account is left and kept after all', async () => {
    const account = await registerAccount(app);
    const { page } = await visit(browser, { javaScriptEnabled, acceptDownloads: true });
    await signedIn(page, account);
    await ageSignIns(app, account, 11);
    await side(page, 'Your data');
    await follow(page, 'Delete account');
    await expectHeading(page, 'Confirm it’s you');
    expect(await focused(page)).toBe('password');
    await page.getByLabel('Password', { exact: true }).fill('not this one');
    await press(page, 'Continue');
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Password', { exact: true }).fill(password);
    await press(page, 'Continue');
    await expectHeading(page, 'Delete your account?');
    await follow(page, 'Keep it');

    const download = page.waitForEvent('download');
    await follow(page, 'Download');
    const file = await download;
    expect(file.suggestedFilename()).toBe('account.json');
    expect(JSON.parse(await readFile(await file.path(), 'utf8'))).toMatchObject({ profile: { email: account.email } });

    await follow(page, 'Delete account');
    await press(page, 'Delete my account');
    await expectHeading(page, 'Your account will be deleted');
    await page.goto(`${app.origin}/account`);
    await expectHeading(page, 'Sign in');
    await signIn(page, account);
    await expectHeading(page, account.name);
    expect(await page.getByRole('status').textContent()).toContain('Your account stays.');
  });
});

/** Two-step sign-in in Chromium: set up from the picture, used with and without script, by keyboard alone. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { registerAccount } from '../support/relying-party.ts';
import { authenticatorOf, letStepsPass } from '../support/two-step-person.ts';
import { type ClientSite, startClientSite } from './client-site.ts';
import { expectAt, expectHeading, fillSignIn, focused, follow, press, signIn } from './steps.ts';
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

/** What an app shows that took a picture of the page, and the recovery codes that are shown once. */
async function setUp(page: Page): Promise<{ code: (steps?: number) => string; recoveryCodes: string[] }> {
  const code = authenticatorOf(await page.content());
  await page.getByLabel('Six-digit code').fill(code());
  await press(page, 'Turn on');
  await expectHeading(page, 'Recovery codes');
  return { code, recoveryCodes: await page.locator('ol.codes code').allTextContents() };
}

async function withTwoStep(page: Page, account: Account) {
  await page.goto(`${app.origin}/account/two-step`);
  await signIn(page, account);
  await expectHeading(page, 'Two-step sign-in');
  await follow(page, 'Set it up');
  return setUp(page);
}

async function atSecondStep(page: Page, account: Account): Promise<void> {
  await letStepsPass(app, account);
  await page.goto(`${app.origin}/auth/login`);
  await signIn(page, account);
  await expectHeading(page, 'Enter your code');
}

describe.each([true, false])('with JavaScript: %s', (javaScriptEnabled) => {
  test('a person sets it up, keeps the codes, signs in with each, and turns it off', async () => {
    const account = await registerAccount(app);
    const { page, context } = await visit(browser, { javaScriptEnabled, acceptDownloads: true });
    const { code, recoveryCodes } = await withTwoStep(page, account);
    expect(recoveryCodes).toHaveLength(10);
    const download = page.waitForEvent('download');
    await press(page, 'Download as text');
    expect((await download).suggestedFilename()).toBe('recovery-codes.txt');
    await follow(page, 'I’ve kept them safe');
    await page.getByRole('status').waitFor();
    expect(await page.getByRole('status').textContent()).toContain('Two-step sign-in is on.');

    const other = (await visit(browser, { javaScriptEnabled })).page;
    await atSecondStep(other, account);
    await other.getByLabel('Six-digit code').fill('000000');
    await press(other, 'Continue');
    expect(await other.title()).toMatch(/^Problem: Enter your code/);
    await other.getByLabel('Six-digit code').fill(code());
    await other.getByLabel('Don’t ask in this browser for 30 days').check();
    await press(other, 'Continue');
    await expectHeading(other, account.name);

    const third = (await visit(browser, { javaScriptEnabled })).page;
    await atSecondStep(third, account);
    await follow(third, 'Use a recovery code');
    await third.getByLabel('Recovery code').fill(recoveryCodes[0] as string);
    await press(third, 'Continue');
    await expectHeading(third, account.name);

    await page.goto(`${app.origin}/account/two-step`);
    expect(await page.getByRole('listitem').filter({ hasText: 'Chrome' }).count()).toBe(1);
    await page.getByRole('button', { name: /^Ask again/ }).click();
    expect(await page.getByRole('status').textContent()).toContain('We’ll ask for a code there again.');
    await press(page, 'Turn off');
    await page.getByRole('status').waitFor();
    await context.clearCookies();
    await page.goto(`${app.origin}/auth/login`);
    await signIn(page, account);
    await expectHeading(page, account.name);
  });
});

describe('for a client that requires it', () => {
  let site: ClientSite;

  beforeAll(async () => {
    site = await startClientSite(app, 'Tidewater Bank', { require_second_factor: true });
  });
  afterAll(() => site.close());

  test('it is set up on the way, and back at the client the person is known', async () => {
    const account = await registerAccount(app);
    const { page } = await visit(browser);
    await page.goto(`${site.origin}/sign-in`);
    await signIn(page, account);
    await expectHeading(page, 'One more step');
    await follow(page, 'Set up two-step sign-in');
    await setUp(page);
    await follow(page, 'I’ve kept them safe');
    await press(page, 'Allow');
    await expectAt(page, site, `Signed in as ${account.name}`);
  });
});

test('by keyboard alone: password, code, in', async () => {
  const account = await registerAccount(app);
  const { code } = await withTwoStep((await visit(browser)).page, account);
  await letStepsPass(app, account);
  const { page } = await visit(browser);
  await page.goto(`${app.origin}/auth/login`);
  await fillSignIn(page, account);
  await page.keyboard.press('Enter');
  await expectHeading(page, 'Enter your code');
  expect(await focused(page)).toBe('code');
  await page.keyboard.type('000000');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').waitFor();
  expect(await focused(page)).toBe('code');
  await page.keyboard.type(code());
  await page.keyboard.press('Tab');
  await page.keyboard.press('Space');
  await page.keyboard.press('Tab');
  expect(await focused(page)).toBe('second-factor-submit');
  await page.keyboard.press('Enter');
  await expectHeading(page, account.name);
});

test('going back to the code after it was used offers a way on', async () => {
  const account = await registerAccount(app);
  const { code } = await withTwoStep((await visit(browser)).page, account);
  const { page } = await visit(browser);
  await atSecondStep(page, account);
  await page.getByLabel('Six-digit code').fill(code());
  await press(page, 'Continue');
  await expectHeading(page, account.name);
  await page.goBack();
  await expectHeading(page, account.name);
});

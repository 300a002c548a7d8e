/** Connecting a device from a phone: by hand, by the link of a QR code, with and without script, by keyboard alone. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { type Registration, registerAccount } from '../support/relying-party.ts';
import { expectHeading, fillSignIn, focused, follow, press, signIn } from './steps.ts';
import { visit } from './visitor.ts';

let app: TestApp;
let browser: Browser;
let tv: Registration;

beforeAll(async () => {
  [app, browser] = await Promise.all([startApp(), launchBrowser()]);
  tv = await registerDevice(app);
});
afterAll(async () => {
  await browser.close();
  await app.close();
});

const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

async function enter(page: Page, code: string): Promise<void> {
  await page.getByLabel('Code').fill(code);
  await press(page, 'Continue');
}

test.each([true, false])('on a phone, from the code to the end (JavaScript: %s)', async (javaScriptEnabled) => {
  const device = await startDevice(app, tv, { scope: 'openid profile offline_access' });
  const { page } = await visit(browser, { ...phone, javaScriptEnabled });
  await page.goto(device.verification_uri);
  await enter(page, 'bcdf-ghjk');
  expect(await page.getByRole('alert').textContent()).toContain('We don’t know that code.');
  expect(await page.getByLabel('Code').inputValue()).toBe('bcdf-ghjk');
  await enter(page, device.user_code.toLowerCase().replace('-', ' '));
  await expectHeading(page, 'Connect Living Room TV?');
  expect(await page.locator('code').textContent()).toBe(device.user_code);
  await press(page, 'Connect');
  await signIn(page, await registerAccount(app));
  await page.getByLabel('Stay connected while you’re away').check();
  await press(page, 'Allow');
  await expectHeading(page, 'Your device is connected');
  await page.reload();
  await expectHeading(page, 'Your device is connected');
  expect(await pollOnce(app, tv, device)).toMatchObject({ status: 200, refresh_token: expect.any(String) });
  await follow(page, 'Go to your account');
  await page.waitForURL(`${app.origin}/account`);
});

test('the link of a QR code, refused', async () => {
  const device = await startDevice(app, tv);
  const { page } = await visit(browser, phone);
  await page.goto(device.verification_uri_complete);
  await expectHeading(page, 'Connect Living Room TV?');
  await press(page, 'Don’t connect');
  await expectHeading(page, 'Nothing was connected');
  expect(await pollOnce(app, tv, device)).toMatchObject({ error: 'access_denied' });
  await page.goBack();
  await page.reload();
  await expectHeading(page, 'Nothing was connected');
  await follow(page, 'Enter another code');
  await expectHeading(page, 'Connect a device');
});

test('by keyboard: the cursor waits in the field, Enter continues, and the way to “no” comes first', async () => {
  const device = await startDevice(app, tv);
  const account = await registerAccount(app);
  const { page } = await visit(browser);
  await page.goto(`${app.origin}/auth/login`);
  await fillSignIn(page, account);
  await page.keyboard.press('Enter');
  await page.waitForURL(`${app.origin}/account`);
  await page.goto(device.verification_uri);
  expect(await focused(page)).toBe('user_code');
  await page.keyboard.type(device.user_code);
  await page.keyboard.press('Enter');
  await expectHeading(page, 'Connect Living Room TV?');
  expect(await page.locator('form#device-confirm').textContent()).toContain(account.email);
  const stops: (string | null)[] = [];
  for (const _ of Array.from({ length: 3 })) {
    await page.keyboard.press('Tab');
    stops.push(await focused(page));
  }
  expect(stops).toEqual(['device-another', 'device-deny', 'device-approve']);
  await page.keyboard.press('Enter');
  await press(page, 'Allow');
  await expectHeading(page, 'Your device is connected');
});

test('the operator’s own app asks for no consent, and the end is found again by the code', async () => {
  const own = await registerDevice(app, {}, { firstParty: true });
  const device = await startDevice(app, own);
  const { page } = await visit(browser);
  await page.goto(device.verification_uri_complete);
  await press(page, 'Connect');
  await signIn(page, await registerAccount(app));
  await expectHeading(page, 'Your device is connected');
  await page.goto(device.verification_uri);
  await enter(page, device.user_code);
  await expectHeading(page, 'Your device is connected');
});

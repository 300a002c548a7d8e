/**
 * One person's whole life with an account in Chromium: made, proven, secured, used on two devices, recovered, left and
 * taken back. With `SHOTS` set, every page is photographed into `latchkey-shots` of the temporary folder (`SHOTS=phone`: narrow and dark).
 */
import { mkdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { password } from '../support/relying-party.ts';
import { authenticatorOf, letStepsPass } from '../support/two-step-person.ts';
import { expectHeading, follow, press, signIn } from './steps.ts';
import { addDevice, type Device } from './virtual-device.ts';
import { visit } from './visitor.ts';

const shots = process.env.SHOTS;
const shotsFolder = join(tmpdir(), 'latchkey-shots');
const look: BrowserContextOptions =
  shots === 'phone'
    ? { viewport: { width: 390, height: 844 }, colorScheme: 'dark' }
    : { viewport: { width: 1280, height: 800 }, colorScheme: 'light' };

let app: TestApp;
let browser: Browser;

beforeAll(async () => {
  [app, browser] = await Promise.all([startApp({ named: true, env: { PLAYGROUND: 'on' } }), launchBrowser()]);
  if (shots) await mkdir(shotsFolder, { recursive: true });
});
afterAll(async () => {
  await browser.close();
  await app.close();
});

const account = { email: 'ada@moreno.example', name: 'Ada Moreno', password };
const newPassword = 'seven green umbrellas';

let taken = 0;
async function shot(page: Page, name: string): Promise<void> {
  if (!shots) return;
  taken += 1;
  const suffix = shots === 'phone' ? '-phone' : '';
  await page.screenshot({
    path: `${shotsFolder}/${String(taken).padStart(2, '0')}-${name}${suffix}.png`,
    fullPage: true,
  });
}

const open = (page: Page, path: string) => page.goto(app.origin + path);
const status = (page: Page, text: string) => page.getByRole('status').getByText(text).waitFor();

/** A browser on a device with a screen lock, which offers no passkey before its button is pressed. */
async function openBrowser(options: BrowserContextOptions = {}): Promise<{ page: Page; device: Device }> {
  const { page } = await visit(browser, { ...look, ...options });
  await page.addInitScript('PublicKeyCredential.isConditionalMediationAvailable = async () => false');
  return { page, device: await addDevice(page) };
}

/** As a password manager does that keeps the passkeys of both devices. */
async function synchronize(from: Device, to: Device): Promise<void> {
  const { credentials } = await from.cdp.send('WebAuthn.getCredentials', { authenticatorId: from.authenticatorId });
  expect(credentials).toHaveLength(1);
  for (const credential of credentials)
    await to.cdp.send('WebAuthn.addCredential', { authenticatorId: to.authenticatorId, credential });
}

/** Opens the outbox and follows the newest link of that kind. */
async function followMail(page: Page, link: string): Promise<void> {
  await open(page, '/dev/outbox');
  await expectHeading(page, 'Outbox');
  await page.getByRole('link', { name: link }).first().click();
}

async function enterCode(page: Page, code: () => string): Promise<void> {
  await expectHeading(page, 'Enter your code');
  // The step of the code before has passed.
  await letStepsPass(app);
  await page.getByLabel('Six-digit code').fill(code());
  await press(page, 'Continue');
}

async function expectFinishedRun(page: Page): Promise<void> {
  await page.waitForURL('**/playground/run');
  await expectHeading(page, 'One sign-in, step by step');
  expect(await page.locator('#step-5').textContent()).toContain('Signature verified.');
  expect(await page.getByRole('alert').count()).toBe(0);
}

test('a newcomer makes an account, secures it, uses it, recovers it, leaves and comes back', async () => {
  const { page, device } = await openBrowser({ acceptDownloads: true });

  // An account, and the address proven.
  await open(page, '/');
  await shot(page, 'start');
  await follow(page, 'Create an account');
  await expectHeading(page, 'Create your account');
  await page.getByLabel('Name').fill(account.name);
  await page.getByLabel('Email').fill(account.email);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await shot(page, 'register');
  await press(page, 'Create account');
  await expectHeading(page, account.name);
  await page.getByText('Confirm your email address.').waitFor();
  await shot(page, 'account-unverified');
  await open(page, '/dev/outbox');
  await shot(page, 'outbox');
  await followMail(page, '/auth/verify-email?token=');
  await expectHeading(page, 'Confirm your email address');
  await shot(page, 'verify-email');
  await press(page, 'Confirm my address');
  await status(page, 'Your email address is confirmed.');
  await page.getByText('Verified', { exact: true }).waitFor();
  await shot(page, 'account-verified');

  // Two-step sign-in, by the key that is typed.
  await follow(page, 'Look after it');
  await expectHeading(page, 'How you sign in');
  await shot(page, 'security');
  await follow(page, 'Set up two-step sign-in');
  await expectHeading(page, 'Two-step sign-in');
  await shot(page, 'two-step-off');
  await follow(page, 'Set it up');
  await expectHeading(page, 'Set up two-step sign-in');
  await shot(page, 'two-step-set-up');
  const code = authenticatorOf(await page.content());
  await page.getByLabel('Six-digit code').fill(code());
  await press(page, 'Turn on');
  await expectHeading(page, 'Recovery codes');
  expect(await page.locator('ol.codes code').count()).toBe(10);
  await shot(page, 'recovery-codes');
  await follow(page, 'I’ve kept them safe');
  await status(page, 'Two-step sign-in is on.');
  await shot(page, 'two-step-on');

  // A passkey.
  await open(page, '/account/passkeys');
  await expectHeading(page, 'Passkeys');
  await page.getByRole('button', { name: 'Add a passkey' }).waitFor();
  await shot(page, 'passkeys-none');
  await press(page, 'Add a passkey');
  await status(page, 'Your passkey is added.');
  await page.getByRole('heading', { name: 'Chrome on Linux' }).waitFor();
  await shot(page, 'passkeys-one');
  await press(page, 'Sign out');
  await page.waitForURL(`${app.origin}/`);

  // To the playground with password and code.
  await open(page, '/playground');
  await expectHeading(page, 'One sign-in, step by step');
  await shot(page, 'playground');
  await press(page, 'Start a sign-in');
  await expectHeading(page, 'Sign in');
  await page.getByText('to continue to Playground').waitFor();
  await shot(page, 'sign-in-playground');
  await signIn(page, account);
  await expectHeading(page, 'Enter your code');
  await shot(page, 'second-factor');
  await enterCode(page, code);
  await expectHeading(page, 'Playground wants to use your account');
  await shot(page, 'consent');
  await press(page, 'Allow');
  await expectFinishedRun(page);
  expect(await page.locator('#step-5').textContent()).toContain('a password, a one-time code, more than one way');
  await shot(page, 'playground-run');

  // And from another browser with the passkey alone.
  const { page: phone, device: phoneDevice } = await openBrowser({
    userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5 Mobile/15E148 Safari/604.1',
  });
  await synchronize(device, phoneDevice);
  await open(phone, '/playground');
  await press(phone, 'Start a sign-in');
  await expectHeading(phone, 'Sign in');
  await press(phone, 'Use a passkey');
  await expectHeading(phone, 'Playground wants to use your account');
  await shot(phone, 'consent-again');
  await press(phone, 'Allow');
  await expectFinishedRun(phone);
  expect(await phone.locator('#step-5').textContent()).not.toContain('a password');
  expect(await phone.locator('#step-5').textContent()).toContain('being there in person');
  await shot(phone, 'playground-run-passkey');

  // Both are seen, and one is ended.
  await open(page, '/account/sessions');
  await expectHeading(page, 'Where you’re signed in');
  const rows = page.getByRole('main').getByRole('listitem');
  expect(await rows.count()).toBe(2);
  expect(await rows.first().textContent()).toMatch(/Chrome on Linux This browser/);
  await shot(page, 'sessions-two');
  await press(page, 'Sign out of Safari on iPhone');
  await status(page, 'That browser is signed out.');
  expect(await rows.count()).toBe(1);
  await shot(page, 'sessions-one');
  await open(phone, '/account');
  await expectHeading(phone, 'Sign in');
  await open(page, '/account/apps');
  await page.getByRole('heading', { name: 'Playground' }).waitFor();
  await shot(page, 'apps');

  // The password is forgotten: the mail brings another, and the code is asked for all the same.
  await open(phone, '/auth/login');
  await follow(phone, 'Forgot your password?');
  await expectHeading(phone, 'Choose a new password');
  await phone.getByLabel('Email').fill(account.email);
  await shot(phone, 'forgot-password');
  await press(phone, 'Send the link');
  await expectHeading(phone, 'Check your email');
  await shot(phone, 'check-email');
  await followMail(phone, '/auth/reset-password?token=');
  await expectHeading(phone, 'Choose a new password');
  await phone.getByLabel('New password', { exact: true }).fill(newPassword);
  await shot(phone, 'new-password');
  await press(phone, 'Change password');
  await expectHeading(phone, 'Sign in');
  await phone.getByRole('status').waitFor();
  await shot(phone, 'sign-in-after-reset');
  await open(page, '/account');
  await expectHeading(page, 'Sign in');
  await signIn(page, account);
  expect(await page.getByRole('alert').textContent()).toContain('That email and password don’t match.');
  await shot(page, 'sign-in-old-password');
  await signIn(page, { ...account, password: newPassword });
  await enterCode(page, code);
  await expectHeading(page, account.name);
  await shot(page, 'account-after-reset');
  await open(page, '/account/activity');
  await expectHeading(page, 'Activity');
  await shot(page, 'activity');

  // A copy of everything, and away.
  await open(page, '/account/data');
  await expectHeading(page, 'Your data');
  await shot(page, 'data');
  const download = page.waitForEvent('download');
  await follow(page, 'Download');
  const file = await download;
  expect(file.suggestedFilename()).toBe('account.json');
  const data = await readFile(await file.path(), 'utf8');
  expect(JSON.parse(data)).toMatchObject({ profile: { email: account.email, name: account.name } });
  expect(data).toContain('Chrome on Linux');
  await follow(page, 'Delete account');
  await expectHeading(page, 'Delete your account?');
  expect(await page.getByRole('main').textContent()).toContain('the one app that is connected loses it');
  await shot(page, 'deletion');
  await press(page, 'Delete my account');
  await expectHeading(page, 'Your account will be deleted');
  await shot(page, 'deleted');
  await follow(page, 'Go to the start page');
  await page.getByRole('link', { name: 'Sign in', exact: true }).waitFor();
  await open(page, '/account');
  await expectHeading(page, 'Sign in');
  await open(page, '/dev/outbox');
  await page.getByRole('article').first().getByText('delete').first().waitFor();
  await shot(page, 'outbox-full');

  // Taken back by signing in, code and all.
  await open(page, '/auth/login');
  await signIn(page, { ...account, password: newPassword });
  await enterCode(page, code);
  await expectHeading(page, account.name);
  await status(page, 'Your account stays.');
  await shot(page, 'taken-back');
  await open(page, '/account/apps');
  await expectHeading(page, 'Connected apps');
  await page.getByRole('heading', { name: 'Playground' }).waitFor();
  await shot(page, 'apps-taken-back');
  await open(page, '/account/passkeys');
  await page.getByRole('heading', { name: 'Chrome on Linux' }).waitFor();
});

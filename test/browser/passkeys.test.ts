/** Passkeys in Chromium with a virtual authenticator: the journeys, and what a person sees when one does not work. */
import { eq } from 'drizzle-orm';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { passkeys } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { registerAccount } from '../support/relying-party.ts';
import { type ClientSite, startClientSite } from './client-site.ts';
import { expectAt, expectHeading, follow, press, signIn } from './steps.ts';
import { addDevice, type Device } from './virtual-device.ts';
import { visit } from './visitor.ts';

let app: TestApp;
let browser: Browser;
let library: ClientSite;

beforeAll(async () => {
  [app, browser] = await Promise.all([startApp({ named: true }), launchBrowser()]);
  library = await startClientSite(app, 'Fernwood Library');
});
afterAll(async () => {
  await browser.close();
  await library.close();
  await app.close();
});

const answers = ({ cdp, authenticatorId }: Device, enabled: boolean) =>
  cdp.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled });

/** Signs in with a password, adds a passkey on its page and signs out. */
async function addPasskey(page: Page): Promise<Awaited<ReturnType<typeof registerAccount>>> {
  const account = await registerAccount(app);
  await page.goto(`${app.origin}/auth/login?return_to=/account/passkeys`);
  await signIn(page, account);
  await expectHeading(page, 'Passkeys');
  await press(page, 'Add a passkey');
  await page.getByText('Your passkey is added.').waitFor();
  await press(page, 'Sign out');
  await page.waitForURL(`${app.origin}/`);
  return account;
}

/** A browser without passkeys in the list of a field, where this device would answer by itself before a button is used. */
async function visitWithoutList() {
  const visitor = await visit(browser);
  await visitor.page.addInitScript('PublicKeyCredential.isConditionalMediationAvailable = async () => false');
  return { ...visitor, device: await addDevice(visitor.page) };
}

test('a person adds a passkey, signs in with it alone, names it and removes it', async () => {
  const { page } = await visitWithoutList();
  const { email } = await addPasskey(page);

  await page.goto(`${app.origin}/auth/login`);
  await press(page, 'Use a passkey');
  await page.waitForURL(`${app.origin}/account`);
  expect(await page.locator('main').textContent()).toContain(email);

  await page.goto(`${app.origin}/account/passkeys`);
  await follow(page, 'Edit Chrome on Linux');
  await page.getByLabel('Name').fill('Green phone');
  await press(page, 'Save name');
  await page.getByRole('heading', { name: 'Green phone' }).waitFor();
  await follow(page, 'Edit Green phone');
  await press(page, 'Remove passkey');
  await page.getByText('can’t sign in here any more').waitFor();
  expect(await page.getByRole('link', { name: /^Edit/ }).count()).toBe(0);
});

test('a passkey signs in to a client', async () => {
  const { page } = await visitWithoutList();
  await addPasskey(page);
  await page.goto(`${library.origin}/sign-in`);
  await press(page, 'Use a passkey');
  await press(page, 'Allow');
  await expectAt(page, library, 'Signed in as Ada Moreno');
});

test('the list of the email field offers it, where the browser can', async () => {
  const { page } = await visit(browser);
  await addDevice(page);
  await addPasskey(page);
  await page.goto(`${app.origin}/auth/login`);
  await page.waitForURL(`${app.origin}/account`);
});

test('the button works while that list is still open', async () => {
  const { page } = await visit(browser);
  const device = await addDevice(page);
  await addPasskey(page);
  await page.addInitScript(`
    const { get } = CredentialsContainer.prototype;
    CredentialsContainer.prototype.get = function (options) {
      const answer = get.call(this, options);
      document.documentElement.dataset.asked = options.mediation ?? 'button';
      return answer;
    };
  `);
  await answers(device, false);
  await page.goto(`${app.origin}/auth/login`);
  await page.locator('html[data-asked="conditional"]').waitFor();
  await answers(device, true);
  await press(page, 'Use a passkey');
  await page.waitForURL(`${app.origin}/account`);
});

describe('when it does not work', () => {
  test('a question that was closed says that nothing happened, and the password still works', async () => {
    const { page, device } = await visitWithoutList();
    const account = await addPasskey(page);
    await page.goto(`${app.origin}/auth/login`);
    await device.cdp.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId: device.authenticatorId });
    await addDevice(page);
    await press(page, 'Use a passkey');
    const alert = page.getByRole('alert');
    await alert.waitFor();
    expect(await alert.textContent()).toContain('Nothing happened. Try again, or use your password.');
    await signIn(page, account);
    await page.waitForURL(`${app.origin}/account`);
  });

  test('one that was removed from the account says so, and the way on is there', async () => {
    const { page } = await visitWithoutList();
    const { sub } = await addPasskey(page);
    await app.database.db.delete(passkeys).where(eq(passkeys.accountId, sub));
    await page.goto(`${app.origin}/auth/login`);
    await press(page, 'Use a passkey');
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toContain('That passkey didn’t work here.');
    expect(await page.title()).toMatch(/^Problem: /);
  });

  test('a device that has one of the account already adds no second', async () => {
    const { page } = await visitWithoutList();
    const account = await addPasskey(page);
    await page.goto(`${app.origin}/auth/login?return_to=/account/passkeys`);
    await signIn(page, account);
    await press(page, 'Add a passkey');
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toContain('This device has a passkey of yours already.');
    expect(await page.getByRole('link', { name: /^Edit/ }).count()).toBe(1);
  });

  test('without JavaScript nothing of it shows, and the account page says why', async () => {
    const { page } = await visit(browser, { javaScriptEnabled: false });
    const account = await registerAccount(app);
    await page.goto(`${app.origin}/auth/login?return_to=/account/passkeys`);
    expect(await page.getByRole('button', { name: 'Use a passkey' }).count()).toBe(0);
    await signIn(page, account);
    await expectHeading(page, 'Passkeys');
    expect(await page.getByRole('button', { name: 'Add a passkey' }).count()).toBe(0);
    expect(await page.locator('main').textContent()).toContain('This browser can’t add one.');
  });
});

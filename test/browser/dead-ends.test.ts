/** What people do that nobody planned for: wherever it ends, there is a way on, and it works. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { password, registerAccount } from '../support/relying-party.ts';
import { type ClientSite, startClientSite } from './client-site.ts';
import { expectAt, expectHeading, fillSignIn, follow, press, signIn } from './steps.ts';
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

async function startAgain(page: Page): Promise<void> {
  await expectHeading(page, 'This sign-in got interrupted');
  await follow(page, 'Start again with Fernwood Library');
}

test('back from the client to a consent that was given', async () => {
  const { page } = await visit(browser);
  await page.goto(library.origin);
  await follow(page, 'Sign in');
  await signIn(page, await registerAccount(app));
  await press(page, 'Allow');
  await expectAt(page, library, 'Signed in as Ada Moreno');
  await page.goBack();
  await startAgain(page);
  await expectAt(page, library, 'Signed in as Ada Moreno');
});

test('back from consent to the sign-in before it', async () => {
  const { page } = await visit(browser);
  await page.goto(library.origin);
  await follow(page, 'Sign in');
  const account = await registerAccount(app);
  await signIn(page, { ...account, password: 'not the password' });
  await signIn(page, account);
  await page.waitForSelector('form#consent');
  // To the form with the problem, which must not ask whether to send it again, and to the first one.
  for (const _ of ['problem', 'first']) {
    await page.goBack();
    await expectHeading(page, 'This sign-in got interrupted');
  }
  await startAgain(page);
  await press(page, 'Allow');
  await expectAt(page, library, 'Signed in as Ada Moreno');
});

test('a finished step that is answered and loaded again', async () => {
  const { page, context } = await visit(browser);
  await page.goto(`${library.origin}/sign-in`);
  await signIn(page, await registerAccount(app));
  await page.waitForSelector('form#consent');
  const other = await context.newPage();
  await other.goto(page.url());
  await press(other, 'Allow');
  await expectAt(other, library, 'Signed in as Ada Moreno');
  await press(page, 'Allow');
  await expectHeading(page, 'This sign-in got interrupted');
  await page.reload();
  await startAgain(page);
  await expectAt(page, library, 'Signed in as Ada Moreno');
});

test('a form with a problem that is loaded again', async () => {
  const { page } = await visit(browser);
  const account = await registerAccount(app);
  await page.goto(`${app.origin}/auth/login?return_to=/account/profile`);
  await signIn(page, { ...account, password: 'not the password' });
  await page.getByRole('alert').waitFor();
  expect(await page.title()).toMatch(/^Problem: /);
  await page.reload();
  expect(await page.title()).toMatch(/^Sign in/);
  await signIn(page, account);
  await page.waitForURL(`${app.origin}/account`);
});

/** A real double click: the second one comes while the first is being answered. */
async function pressTwice(page: Page, id: string): Promise<void> {
  await page.evaluate(`(() => {
    const button = document.getElementById('${id}');
    button.addEventListener('click', () => setTimeout(() => button.click(), 50), { once: true });
  })()`);
  await page.locator(`#${id}`).click();
}

test('two clicks on every button of the way', async () => {
  const { page } = await visit(browser);
  const email = 'twice@moreno.example';
  await page.goto(`${library.origin}/sign-in`);
  await follow(page, 'Create an account');
  await page.getByLabel('Name').fill('Ada Moreno');
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await pressTwice(page, 'register-submit');
  await page.waitForSelector('form#consent');
  await pressTwice(page, 'consent-approve');
  await expectAt(page, library, 'Signed in as Ada Moreno');
  await follow(page, 'Sign out');
  await pressTwice(page, 'logout-confirm');
  await expectAt(page, library, 'Goodbye, state bye');
  await follow(page, 'Sign in');
  await fillSignIn(page, { email });
  await pressTwice(page, 'login-submit');
  await expectAt(page, library, 'Signed in as Ada Moreno');
});

test('a tab that still asks to sign in after another one did', async () => {
  const account = await registerAccount(app);
  const { page, context } = await visit(browser);
  const other = await context.newPage();
  for (const tab of [page, other]) await tab.goto(`${library.origin}/sign-in`);
  await signIn(page, account);
  await press(page, 'Allow');
  await expectAt(page, library, 'Signed in as Ada Moreno');
  await signIn(other, account);
  await expectAt(other, library, 'Signed in as Ada Moreno');
});

test('pages that are opened by another name of this machine, several at once', async () => {
  const { page } = await visit(browser);
  const elsewhere = app.origin.replace('127.0.0.1', 'localhost');
  await page.goto(`${library.origin}/sign-in`);
  for (const address of [`${app.origin}/`, page.url(), page.url()]) {
    await page.goto(address.replace(app.origin, elsewhere));
    expect(page.url()).toBe(address);
  }
  await signIn(page, await registerAccount(app));
  await press(page, 'Allow');
  await expectAt(page, library, 'Signed in as Ada Moreno');
});

test('an error page carries the reference under which the log has it', async () => {
  const { page } = await visit(browser);
  for (const path of ['/nowhere', '/oidc/auth?client_id=unknown', `/oidc/auth?client_id=${library.clientId}`]) {
    const response = await page.goto(app.origin + path);
    const reference = await page.locator('code').last().textContent();
    expect(reference).toMatch(/^req_\w{10}$/);
    const lines = app.log.filter(({ requestId }) => requestId === reference);
    expect(lines).toMatchObject([{ status: response?.status(), path: path.split('?')[0] }]);
  }
});

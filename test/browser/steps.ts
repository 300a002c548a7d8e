/** What people do on the pages, found by the words they read. */
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { password } from '../support/relying-party.ts';
import type { ClientSite } from './client-site.ts';

export const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();
export const follow = (page: Page, name: string) => page.getByRole('link', { name, exact: true }).click();
export const focused = (page: Page) => page.locator(':focus').getAttribute('id');

export async function fillSignIn(page: Page, account: { email: string; password?: string }): Promise<void> {
  await page.getByLabel('Email').fill(account.email);
  await page.getByLabel('Password', { exact: true }).fill(account.password ?? password);
}

export async function signIn(page: Page, account: { email: string; password?: string }): Promise<void> {
  await fillSignIn(page, account);
  await press(page, 'Sign in');
}

/** Waits until the page is the one with this heading. */
export async function expectHeading(page: Page, name: string): Promise<void> {
  await page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
}

/** Waits until the browser is at the client's site, and checks what that knows of the person. */
export async function expectAt(page: Page, site: ClientSite, who: string): Promise<void> {
  await page.waitForURL(`${site.origin}/**`);
  expect(await page.locator('#who').textContent()).toBe(who);
}

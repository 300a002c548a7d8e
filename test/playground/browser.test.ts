/** The playground in a real browser: three clicks, no word from the content security policy, axe-core content. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { password } from '../support/relying-party.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let app: TestApp;
let browser: Browser;

beforeAll(async () => {
  app = await startApp();
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser.close();
  await app.close();
});

/** What axe-core objects to, and whether the page is wider than its window. */
async function flaws(page: Page): Promise<string[]> {
  await page.evaluate(`${axe};0`);
  const found = await page.evaluate<{ id: string; nodes: { html: string }[] }[]>('axe.run().then((r) => r.violations)');
  const wide = await page.evaluate<boolean>(
    'document.documentElement.scrollWidth > document.documentElement.clientWidth',
  );
  return [...found.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`), ...(wide ? ['scrolls sideways'] : [])];
}

test.each([
  ['light', 1280],
  ['dark', 390],
] as const)('a newcomer sees a whole sign-in, %s at %i px', async (colorScheme, width) => {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 844 } });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => complaints.push(message.text()));

  await page.goto(`${app.origin}/auth/register`);
  await page.fill('[name=name]', 'Ada Moreno');
  await page.fill('[name=email]', `ada-${colorScheme}@moreno.example`);
  await page.fill('[name=password]', password);
  await page.click('#register-submit');
  await page.goto(app.origin);

  await page.click('a[href="/playground"]');
  expect(await flaws(page)).toEqual([]);
  await page.click('#playground-start-submit');
  await page.check('[value=offline_access]');
  await page.click('#consent-approve');
  await page.waitForURL('**/playground/run');
  expect(await page.textContent('#step-5')).toContain('Signature verified.');
  expect(await flaws(page)).toEqual([]);

  for (const action of ['refresh', 'introspection', 'revocation', 'refresh']) {
    await page.click(`#playground-${action} button`);
  }
  await page.waitForURL('**/playground/run#step-11');
  expect(await page.textContent('#step-11')).toContain('The server said no: invalid_grant.');
  await page.click('#playground-sign-out button');
  await page.click('#logout-confirm');
  await page.waitForURL('**/playground/run#step-13');
  expect(await flaws(page)).toEqual([]);
  expect(complaints).toEqual([]);
  await context.close();
});

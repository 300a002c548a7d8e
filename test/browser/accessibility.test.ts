/** Every page for everybody: axe-core finds nothing, at a desk and on a phone, light and dark, on any narrow screen. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { samples } from '../http/view-samples.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { launchBrowser } from '../support/browser.ts';
import { password } from '../support/relying-party.ts';
import { openGallery } from './gallery.ts';
import { press } from './steps.ts';
import { type Visitor, visit, watch } from './visitor.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let app: TestApp;
let browser: Browser;
let gallery: Awaited<ReturnType<typeof openGallery>>;

beforeAll(async () => {
  [app, browser, gallery] = await Promise.all([startApp(), launchBrowser(), openGallery()]);
});
afterAll(async () => {
  await browser.close();
  await gallery.close();
  await app.close();
});

const desktop = { width: 1280, height: 900 };
/** Colours that are on their way to others would be measured half-way. */
const still = { viewport: desktop, reducedMotion: 'reduce' } as const;
const phone = { width: 390, height: 844 };

/** Both sizes and both schemes; what they have to do with each other is in the style sheet, the same for every page. */
const looks = [
  { viewport: desktop, colorScheme: 'light' },
  { viewport: phone, colorScheme: 'dark' },
] as const;

/** A profile in which axe-core is on every page from the beginning: to hand it over later takes longer than its look. */
async function withAxe<T extends Pick<Visitor, 'context'>>(visitor: T): Promise<T> {
  await visitor.context.addInitScript(axe);
  return visitor;
}

type Findings = { passes: number; found: { id: string; html: string; failureSummary?: string }[] };

/** Answers with what is read here and no more: all that axe-core has to say of a page takes a fifth of the time to hand over. */
const look = `axe.run({ resultTypes: ['violations'], selectors: false }).then(({ violations, passes }) => ({
  passes: passes.length,
  found: violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => ({ id, html, failureSummary }))),
}))`;

/** What axe-core finds on this page. */
async function expectAccessible(page: Page): Promise<void> {
  for (const { viewport, colorScheme } of looks) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme });
    const { passes, found } = await page.evaluate<Findings>(look);
    expect(passes).toBeGreaterThan(10);
    expect(found, `${viewport.width} px, ${colorScheme}`).toEqual([]);
  }
}

/** WCAG 1.4.10: nothing has to be scrolled sideways at 320 px. Names what sticks out. */
async function expectNarrow(page: Page): Promise<void> {
  await page.setViewportSize({ width: 320, height: 640 });
  const found = await page.evaluate<{ width: number; wide: string[] }>(`({
    width: document.documentElement.scrollWidth,
    wide: [...document.querySelectorAll('body *')]
      .filter((element) => element.getBoundingClientRect().right > 320.5 && !element.closest('.vh'))
      .map((element) => element.outerHTML.slice(0, 120)),
  })`);
  expect(found).toEqual({ width: 320, wide: [] });
}

const pictures = samples((text) => text).map(({ name, title }, position) => ({ name, title, position }));

/** One profile for all pictures: none of them keeps anything in it, and a new one takes longer than a look. */
let looker: Visitor;
let writer: Visitor;
beforeAll(async () => {
  looker = await withAxe(await watch(browser, still));
  writer = await watch(browser, still);
});
afterAll(() => Promise.all([looker, writer].map(({ context }) => context.close())));

describe.each(pictures)('$name ($position): $title', ({ title, position }) => {
  test('axe-core finds nothing, and nothing sticks out at 320 px, whatever is written into it', async () => {
    const { page } = looker;
    await page.goto(gallery.url(position, 'plain'));
    expect(await page.title()).toMatch(new RegExp(`^${title}`));
    await expectAccessible(page);
    await expectNarrow(page);
    await writer.page.goto(gallery.url(position, 'worst'));
    await expectNarrow(writer.page);
    expect([looker, writer].flatMap(({ complaints }) => complaints.splice(0))).toEqual([]);
  });
});

test('the playground, before a run and after', async () => {
  const { page } = await withAxe(await visit(browser, still));
  await page.goto(`${app.origin}/auth/register?return_to=/playground`);
  await page.getByLabel('Name').fill('Ada Moreno');
  await page.getByLabel('Email').fill('ada@moreno.example');
  await page.getByLabel('Password', { exact: true }).fill(password);
  await press(page, 'Create account');
  await expectAccessible(page);
  await expectNarrow(page);
  await press(page, 'Start a sign-in');
  await page.getByLabel('Stay connected while you’re away').check();
  await press(page, 'Allow');
  await page.waitForURL(`${app.origin}/playground/run`);
  await expectAccessible(page);
  await expectNarrow(page);
});

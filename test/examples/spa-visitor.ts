/** People at examples/spa, in Chromium. */
import type { Browser, BrowserContextOptions, Page, Request } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';
import { expectHeading, press, signIn } from '../browser/steps.ts';
import { type Visitor, watch } from '../browser/visitor.ts';
import { startExample } from '../support/example.ts';
import { freePort } from '../support/listen.ts';

export type Spa = { origin: string; issuer: string };

/** The example by its own command, beside a Latchkey that runs. */
export async function startSpa({ issuer }: { issuer: string }): Promise<Spa> {
  const port = await freePort();
  await startExample('spa', { ISSUER: issuer, PORT: String(port) });
  return { origin: `http://localhost:${port}`, issuer };
}

/** Chromium writes a line for each 4xx: the first proofs without a nonce, and a token that is tried without its key. */
const meantToBe =
  /^Failed to load resource: the server responded with a status of 40[01] .*\/oidc\/(token|userinfo)\)$/;

/**
 * A profile of its own at the app. The test fails at its end when Chromium complained of a policy, a script or anything
 * else that `expected` does not name.
 */
export async function visitSpa(
  browser: Browser,
  { origin }: Spa,
  options: { expected?: RegExp; context?: BrowserContextOptions } = {},
): Promise<Visitor> {
  const visitor = await watch(browser, options.context);
  onTestFinished(async () => {
    await visitor.context.close();
    const unexpected = visitor.complaints.filter((text) => !meantToBe.test(text) && !options.expected?.test(text));
    expect(unexpected).toEqual([]);
  });
  await visitor.page.goto(origin);
  return visitor;
}

export const greeting = 'Hello, Ada Moreno';

/** From the button to the greeting: signs in at Latchkey and allows everything that it asks. */
export async function signInAtSpa(page: Page, account: { email: string }, how: { stay?: boolean } = {}): Promise<void> {
  if (how.stay) await page.getByLabel('Stay connected').check();
  await press(page, 'Sign in with Latchkey');
  await signIn(page, account);
  if (how.stay) await page.getByLabel('Stay connected while you’re away').check();
  await press(page, 'Allow');
  await expectHeading(page, greeting);
}

type Tokens = { access_token: string; refresh_token?: string; id_token: string };

/** What the next successful answer of the token endpoint will hold: more than the page shows. */
export async function nextTokens(page: Page): Promise<Tokens> {
  const answer = await page.waitForResponse(
    (response) => response.url().endsWith('/oidc/token') && response.status() === 200,
  );
  return (await answer.json()) as Tokens;
}

/** Every request that was made for this path from now on. */
export function requestsTo(page: Page, pathname: string): Request[] {
  const made: Request[] = [];
  page.on('request', (request) => {
    if (new URL(request.url()).pathname === pathname) made.push(request);
  });
  return made;
}

/** The names of the steps that the page shows, in their order. */
export const stepsOf = (page: Page): Promise<(string | null)[]> =>
  page.locator('#trace > li').evaluateAll((items) => items.map((item) => item.getAttribute('data-step')));

/** What the page says went wrong, title and text. */
export const alertOf = (page: Page) => page.getByRole('alert').textContent();

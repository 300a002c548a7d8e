/** A person at a real browser, every page of which is watched for what our own policies would break. */
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';

export type Visitor = {
  context: BrowserContext;
  page: Page;
  /** What Chromium complained of so far: blocked by a policy, an error in a script, a file that is missing. */
  complaints: string[];
};

/** A browser profile of its own for this test, which fails at its end when Chromium complained of anything. */
export async function visit(browser: Browser, options: BrowserContextOptions = {}): Promise<Visitor> {
  const visitor = await watch(browser, options);
  onTestFinished(async () => {
    await visitor.context.close();
    expect(visitor.complaints).toEqual([]);
  });
  return visitor;
}

/** The same without the check at the end; the caller closes the context. */
export async function watch(browser: Browser, options: BrowserContextOptions = {}): Promise<Visitor> {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(15_000);
  const complaints: string[] = [];
  await context.exposeBinding('reportViolation', (_source, text: string) => void complaints.push(text));
  await context.addInitScript({ content: reportViolations });
  context.on('console', (message) => {
    if (message.type() !== 'error' || isAnswerOfPage(message.text(), message.location().url, message.page())) return;
    complaints.push(`${message.text()} (${message.location().url})`);
  });
  context.on('weberror', (error) => void complaints.push(String(error.error())));
  return { context, page: await context.newPage(), complaints };
}

const reportViolations = `
  document.addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI, documentURI }) => {
    reportViolation(effectiveDirective + ' blocked ' + blockedURI + ' on ' + documentURI);
  });
`;

/** Chromium also writes a line for a page that came with a 4xx, which is what such a page is meant to do. */
function isAnswerOfPage(text: string, url: string, page: Page | null): boolean {
  return text.startsWith('Failed to load resource: the server responded with') && url === page?.url();
}

/** OAuth 2.0 Form Post Response Mode: a page with a form that sends itself to the redirect URI. */
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { Page } from '../support/person.ts';

/**
 * The form of such a page, or undefined when the page is none. Asserts that a browser would send it, which takes more
 * than its script: the content security policy must let that run, and the form go where it points.
 */
export function readSelfSubmittingForm({
  html,
  headers,
}: Page): { action: string; fields: [string, string][] } | undefined {
  const script = /<script>([\s\S]*?)<\/script>/.exec(html)?.[1];
  if (!script?.includes('document.forms[0].submit()')) return undefined;
  const form = /<form([^>]*)>([\s\S]*?)<\/form>/.exec(html);
  const [, attributes = '', inside = ''] = form ?? [];
  expect(attributeOf(attributes, 'method')?.toLowerCase()).toBe('post');
  const action = attributeOf(attributes, 'action') ?? '';
  expect(headers.get('content-type')).toMatch(/^text\/html/);
  expect(headers.get('cache-control')).toContain('no-store');

  const policy = headers.get('content-security-policy') ?? '';
  const directive = (name: string) => new RegExp(`(?:^|;)\\s*${name} ([^;]*)`).exec(policy)?.[1]?.split(' ');
  const digest = createHash('sha256').update(script).digest('base64');
  expect(directive('script-src')).toContain(`'sha256-${digest}'`);
  expect(directive('form-action')).toContain(new URL(action).origin);

  const inputs = [...inside.matchAll(/<input([^>]*)>/g)].map(([, input = '']) => {
    expect(attributeOf(input, 'type')).toBe('hidden');
    return [attributeOf(input, 'name') ?? '', attributeOf(input, 'value') ?? ''] as [string, string];
  });
  return { action, fields: inputs };
}

function attributeOf(tag: string, name: string): string | undefined {
  const value = new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1];
  return value
    ?.replace(/&#x([0-9a-f]+);/gi, (_, hex) => String.fromCodePoint(Number.parseInt(hex, 16)))
    .replace(/&#(\d+);/g, (_, decimal) => String.fromCodePoint(Number(decimal)))
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { returnToOf, safeReturnTo, withReturnTo } from '../../src/accounts/return-to.ts';

const origin = 'https://id.example';

describe('a path on this origin (SECURITY 7)', () => {
  test.each([
    '/',
    '/account',
    '/account/profile?done=saved#top',
    '/oidc/auth?client_id=a&redirect_uri=https%3A%2F%2Frp.example%2Fcb&state=%22x%22',
    '/a/b%20c',
  ])('%s is kept as it is', (path) => {
    expect(safeReturnTo(path)).toBe(path);
  });

  test.each([
    ['another host without a scheme', '//evil.example'],
    ['three slashes', '///evil.example'],
    ['a backslash for a slash', '/\\evil.example'],
    ['backslashes alone', '\\\\evil.example'],
    ['an absolute address', 'https://evil.example/'],
    ['this origin spelled out', 'https://id.example/account'],
    ['a scheme without slashes', 'https:evil.example'],
    ['a script', 'javascript:alert(1)'],
    ['data', 'data:text/html,x'],
    ['an encoded slash', '/%2Fevil.example'],
    ['an encoded backslash', '/%5cevil.example'],
    ['two encoded slashes', '%2F%2Fevil.example'],
    ['a slash encoded twice', '/%252Fevil.example'],
    ['a slash encoded five times', '/%252525252Fevil.example'],
    ['dots that leave slashes', '/.//evil.example'],
    ['steps up that leave slashes', '/a/..//evil.example'],
    ['encoded steps up', '/%2e%2e//evil.example'],
    ['a tab that parsers drop', '/\t/evil.example'],
    ['a line end that splits headers', '/account\r\nSet-Cookie: a=b'],
    ['an encoded line end', '/account%0d%0aSet-Cookie:a=b'],
    ['a leading space', ' //evil.example'],
    ['NUL', '/\0'],
    ['broken encoding', '/%zz'],
    ['letters that become slashes', '/\uff0fevil.example'],
    ['a relative path', 'account'],
    ['nothing', ''],
    ['two values', ['/account', '//evil.example']],
    ['an object', { path: '/account' }],
    ['no value', undefined],
    ['a path without end', `/${'a'.repeat(5000)}`],
  ])('%s is refused', (_, value) => {
    expect(safeReturnTo(value)).toBeUndefined();
  });

  test('whatever comes through stays on this origin, in a browser and behind one more decoding', () => {
    const piece = fc.constantFrom(
      '/',
      '\\',
      '.',
      '..',
      '%2f',
      '%5C',
      '%252f',
      '%2e',
      '@',
      ':',
      '?',
      '#',
      '\t',
      '\n',
      'evil.example',
      'https:',
      ' ',
      '\u2028',
      '／',
    );
    const tricky = fc
      .array(fc.oneof(piece, fc.string({ maxLength: 3, unit: 'binary' })), { maxLength: 8 })
      .map((pieces) => pieces.join(''));
    const anything = fc.oneof(
      tricky,
      tricky.map((rest) => `/${rest}`),
      fc.webUrl(),
      fc.string(),
    );
    let kept = 0;
    fc.assert(
      fc.property(anything, (value) => {
        const path = safeReturnTo(value);
        if (path === undefined) return;
        kept += 1;
        expect(path).toMatch(/^\/(?![/\\])[!-~]*$/);
        expect(new URL(path, origin).origin).toBe(origin);
        expect(new URL(decodeURIComponent(new URL(path, origin).pathname), origin).origin).toBe(origin);
        expect(safeReturnTo(path)).toBe(path);
      }),
      { numRuns: 5000 },
    );
    expect(kept).toBeGreaterThan(100);
  });

  test('it survives being carried in a query', () => {
    fc.assert(
      fc.property(fc.webPath(), fc.webQueryParameters(), (path, query) => {
        const returnTo = safeReturnTo(`/x${path}?${query}`);
        fc.pre(returnTo !== undefined);
        const link = new URL(withReturnTo('/auth/register', returnTo), origin);
        expect(returnToOf({ query: Object.fromEntries(link.searchParams) })).toBe(returnTo);
      }),
    );
    expect(withReturnTo('/auth/register', undefined)).toBe('/auth/register');
  });

  test('the query counts before the hidden field, and only safe ones count', () => {
    expect(returnToOf({ query: { return_to: '/a' }, body: { return_to: '/b' } })).toBe('/a');
    expect(returnToOf({ query: { return_to: '//evil.example' }, body: { return_to: '/b' } })).toBe('/b');
    expect(returnToOf({ query: {} })).toBeUndefined();
  });
});

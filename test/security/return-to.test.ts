/** `return_to` never leads off this origin, whatever it holds and wherever it is given (SECURITY 7). */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person, readForm } from '../support/person.ts';
import { registerAccount, signIn } from '../support/relying-party.ts';

let app: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let person: Person;

beforeAll(async () => {
  app = await startApp();
  ada = await registerAccount(app);
  person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), ada);
});
afterAll(() => app.close());

/** Where browsers go: they drop tabs and line ends, and take a backslash for a slash. */
function expectToStay(location: string | null): void {
  expect(location).toMatch(/^\/(?![/\\])[\x21-\x7e]*$/);
  expect(new URL(location ?? '', app.origin).origin).toBe(app.origin);
}

const evil = [
  ...[
    '//evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '///evil.example',
    'https://evil.example',
    '//evil.example@',
  ],
  ...[
    'https:evil.example',
    'javascript:alert(1)',
    'data:text/html,x',
    ' //evil.example',
    '\t//evil.example',
    '/\t/evil.example',
  ],
  ...[
    '/%2fevil.example',
    '/%5cevil.example',
    '%2f%2fevil.example',
    '/.//evil.example',
    '/a/..//evil.example',
    '/\n/evil.example',
  ],
  ...[
    '/\r\nSet-Cookie: a=b',
    '/%0d%0aSet-Cookie: a=b',
    'evil.example',
    '.evil.example',
    '@evil.example',
    '/\0/evil.example',
  ],
];

test('of a signed-in person, whatever text it is', async () => {
  const pieces = fc.constantFrom(
    '/',
    '\\',
    '//',
    '%2f',
    '%5c',
    '%252f',
    '.',
    '..',
    ':',
    '@',
    '?',
    '#',
    '\t',
    '\r\n',
    '\0',
    ' ',
    'evil.example',
    'https:',
    'javascript:',
    'ｅvil。example',
    '\u2028',
    '\ud800',
  );
  const text = fc.oneof(
    fc.array(pieces, { maxLength: 8 }).map((all) => all.join('')),
    fc.array(pieces, { maxLength: 8 }).map((all) => `/${all.join('')}`),
    fc.webUrl(),
    fc.string({ unit: 'binary' }),
  );
  await fc.assert(
    fc.asyncProperty(text, async (value) => {
      const response = await person.request(`/auth/login?${new URLSearchParams({ return_to: value })}`);
      expect(response.status).toBe(303);
      expectToStay(response.headers.get('location'));
    }),
    { numRuns: 400, examples: evil.map((value): [string] => [value]) },
  );
});

test('in the address, unencoded and several times over', async () => {
  for (const value of evil) {
    const raw = value.replace(/[\s\0]/g, '');
    for (const query of [
      `return_to=${raw}`,
      `return_to=/account&return_to=${raw}`,
      `return_to[]=${raw}`,
      `return_to[x]=${raw}`,
    ]) {
      const response = await person.request(`/auth/login?${query}`);
      expect(response.status).toBe(303);
      expectToStay(response.headers.get('location'));
    }
  }
});

test('in the form, where only what stays here was put', async () => {
  for (const path of ['/auth/login', '/auth/register']) {
    const page = await createPerson(app.origin).open(`${path}?return_to=${encodeURIComponent('//evil.example')}`);
    expect(page.html).not.toContain('evil.example');
    const kept = await createPerson(app.origin).open(`${path}?return_to=${encodeURIComponent('/account/profile')}`);
    expect(readForm(kept.html, path === '/auth/login' ? 'login' : 'register').hidden).toEqual([
      ['return_to', '/account/profile'],
    ]);
  }
});

test('as it is posted, with the right password', async () => {
  for (const value of evil.slice(0, 8)) {
    for (const path of ['/auth/login', `/auth/login?${new URLSearchParams({ return_to: value })}`]) {
      const body = new URLSearchParams({ email: ada.email, password: ada.password, return_to: value });
      const response = await createPerson(app.origin).request(path, { method: 'POST', body });
      expect([response.status, response.headers.get('location')]).toEqual([303, '/account']);
    }
  }
});

test('to this origin it leads, after signing in and after registering', async () => {
  const login = createPerson(app.origin);
  const page = await login.open('/account/profile?done=saved');
  expect(page.url).toContain('/auth/login?return_to=');
  expect((await signIn(login, page, ada)).url).toBe(`${app.origin}/account/profile?done=saved`);
  const form = await createPerson(app.origin).open('/auth/register?return_to=/account/profile');
  const newcomer = createPerson(app.origin);
  const fields = { name: 'Nia', email: 'nia@moreno.example', password: 'long enough' };
  expect((await newcomer.submit(form, 'register', fields)).url).toBe(`${app.origin}/account/profile`);
});

test('no other parameter is taken for one', async () => {
  for (const name of ['next', 'callbackURL', 'redirect', 'redirect_uri', 'continue', 'url', 'returnTo', 'RETURN_TO']) {
    const response = await person.request(`/auth/login?${name}=https://evil.example`);
    expect(response.headers.get('location')).toBe('/account');
  }
});

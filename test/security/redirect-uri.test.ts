/** A code goes to a registered redirect URI and nowhere else, however alike another one looks. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import { authorizationUrl, issueCode, outwardTargets, post, type SignedIn, signedInPerson } from './protocol.ts';

const registered = 'https://client.example:8443/cb/Path?tenant=1&next=%2Fhome';
const second = 'https://client.example/second';
const nativeRegistered = 'http://127.0.0.1/cb?tenant=1';

let app: TestApp;
let web: Registration;
let native: Registration;
/** Signed in and asked for nothing more, so that a URI accepted by mistake would be redirected to at once. */
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  signedIn = await signedInPerson(app);
  web = await registerClient(app, { redirect_uris: [registered, second] });
  native = await registerClient(app, {
    application_type: 'native',
    redirect_uris: [nativeRegistered, 'com.example.app:/cb'],
  });
  await issueCode(app, web, signedIn, { redirect_uri: registered });
});
afterAll(() => app.close());

async function expectNoRedirect(client: Registration, redirectUri: string): Promise<void> {
  const response = await signedIn.person.request(authorizationUrl(app, client, { redirect_uri: redirectUri }));
  const page = await response.text();
  expect([response.status, response.headers.get('location')], redirectUri).toEqual([400, null]);
  expect(outwardTargets(page), redirectUri).toEqual([]);
}

describe('a redirect URI is compared character by character (SECURITY 1)', () => {
  test('the registered one gets the code, its query kept', async () => {
    const { callback } = await issueCode(app, web, signedIn, { redirect_uri: registered });
    expect(callback.href).toMatch(/^https:\/\/client\.example:8443\/cb\/Path\?tenant=1&next=%2Fhome&code=/);
    expect(callback.searchParams.get('state')).toBe('state-of-the-client');
  });

  test.each([
    ['another path', 'https://client.example:8443/cb/Path/more?tenant=1&next=%2Fhome'],
    ['a path above', 'https://client.example:8443/cb?tenant=1&next=%2Fhome'],
    ['dot segments', 'https://client.example:8443/cb/x/../Path?tenant=1&next=%2Fhome'],
    ['encoded dots', 'https://client.example:8443/cb/%2e%2e/cb/Path?tenant=1&next=%2Fhome'],
    ['an encoded letter', 'https://client.example:8443/cb/%50ath?tenant=1&next=%2Fhome'],
    ['another case of the path', 'https://client.example:8443/cb/path?tenant=1&next=%2Fhome'],
    ['another case of an encoding', 'https://client.example:8443/cb/Path?tenant=1&next=%2fhome'],
    ['another case of the host', 'https://CLIENT.example:8443/cb/Path?tenant=1&next=%2Fhome'],
    ['another case of the scheme', 'HTTPS://client.example:8443/cb/Path?tenant=1&next=%2Fhome'],
    ['a trailing slash', 'https://client.example/second/'],
    ['the default port in full', 'https://client.example:443/second'],
    ['no port', 'https://client.example/cb/Path?tenant=1&next=%2Fhome'],
    ['another port', 'https://client.example:8444/cb/Path?tenant=1&next=%2Fhome'],
    ['more query', `${registered}&more=1`],
    ['less query', 'https://client.example:8443/cb/Path?tenant=1'],
    ['query in another order', 'https://client.example:8443/cb/Path?next=%2Fhome&tenant=1'],
    ['no query', 'https://client.example:8443/cb/Path'],
    ['a fragment', `${registered}#top`],
    ['an empty fragment', `${registered}#`],
    ['plain http', 'http://client.example:8443/cb/Path?tenant=1&next=%2Fhome'],
    ['no scheme', '//client.example:8443/cb/Path?tenant=1&next=%2Fhome'],
    ['a user name', 'https://user@client.example/second'],
    ['the host as a user name', 'https://client.example:8443@evil.example/cb/Path?tenant=1&next=%2Fhome'],
    ['the host behind a backslash', 'https://evil.example\\@client.example/second'],
    ['a host that begins like it', 'https://client.example.evil.example/second'],
    ['a host that ends like it', 'https://evilclient.example/second'],
    ['a trailing dot', 'https://client.example./second'],
    ['a letter that looks like it', 'https://сlient.example/second'],
    ['a dot that looks like it', 'https://client。example/second'],
    ['a tab inside', 'https://client.example/sec\tond'],
    ['a line end behind', `${second}\r\n`],
    ['a space before', ` ${second}`],
    ['two at once', `${registered} ${second}`],
    ['a script', 'javascript:alert(1)'],
    ['data', 'data:text/html,hello'],
    ['a wildcard', 'https://*.example/second'],
    ['our own error page', '/'],
  ])('%s is an error page and no redirect', async (_difference, redirectUri) => {
    await expectNoRedirect(web, redirectUri);
  });

  test('no variation of a registered one is redirected to', async () => {
    await fc.assert(
      fc.asyncProperty(variationOf(registered), (variation) => expectNoRedirect(web, variation)),
      { numRuns: 80 },
    );
  });

  test('a pushed request holds to the same', async () => {
    await fc.assert(
      fc.asyncProperty(variationOf(registered), async (variation) => {
        const answer = await post(
          app,
          'request',
          { response_type: 'code', client_id: web.client_id, redirect_uri: variation },
          web,
        );
        expect([answer.status, answer.body.request_uri], variation).toEqual([400, undefined]);
      }),
      { numRuns: 30 },
    );
  });

  test('with several registered, leaving it out is an error page', async () => {
    const response = await signedIn.person.request(authorizationUrl(app, web, { redirect_uri: undefined }));
    expect([response.status, response.headers.get('location')]).toEqual([400, null]);
  });
});

describe('a native app on loopback (SECURITY 2)', () => {
  test.each(['', ':1', ':8080', ':65535'])('may vary its port: 127.0.0.1%s', async (port) => {
    const redirectUri = `http://127.0.0.1${port}/cb?tenant=1`;
    const { callback } = await issueCode(app, native, signedIn, { redirect_uri: redirectUri });
    expect(callback.href.startsWith(`${redirectUri}&code=`)).toBe(true);
  });

  test.each([
    'http://localhost:8080/cb?tenant=1',
    'http://[::1]:8080/cb?tenant=1',
    'http://127.0.0.2:8080/cb?tenant=1',
    'http://127.1:8080/cb?tenant=1',
    'http://2130706433:8080/cb?tenant=1',
    'https://127.0.0.1:8080/cb?tenant=1',
    'http://127.0.0.1:8080/cb',
    'http://127.0.0.1:8080/cb?tenant=2',
    'http://127.0.0.1:8080/cb?tenant=1&x=1',
    'http://127.0.0.1:8080/CB?tenant=1',
    'http://127.0.0.1:8080/cb/?tenant=1',
    'http://127.0.0.1:8080/x/../cb?tenant=1',
    'http://127.0.0.1:8080/cb?tenant=1#top',
    'http://127.0.0.1:80@evil.example/cb?tenant=1',
    'http://user@127.0.0.1:8080/cb?tenant=1',
    'http://127.0.0.1:8080:80/cb?tenant=1',
    'http://127.0.0.1:99999/cb?tenant=1',
    'http://127.0.0.1:8080.evil.example/cb?tenant=1',
    'http://127.0.0.1:8080\\.evil.example/cb?tenant=1',
    'http://127.0.0.1.evil.example/cb?tenant=1',
    'com.example.app:/other',
    'com.example.app://cb',
    'com.example.app.evil:/cb',
  ])('may vary nothing else: %s', async (redirectUri) => {
    await expectNoRedirect(native, redirectUri);
  });

  test('is the only one: a web client’s port stays', async () => {
    const onLoopback = await registerClient(app, { redirect_uris: ['http://127.0.0.1:3999/cb'] });
    await expectNoRedirect(onLoopback, 'http://127.0.0.1:4000/cb');
  });
});

/** One to three small changes to a URI, of the kinds that parsers, proxies and people overlook. */
function variationOf(uri: string): fc.Arbitrary<string> {
  const noise = fc.oneof(
    fc.constantFrom(
      '/',
      '.',
      '..',
      '/./',
      '%2e',
      '%00',
      '%0d%0a',
      '@',
      '@evil.example',
      ':',
      ':443',
      '#',
      '?',
      '&',
      ';',
      '\\',
      ' ',
      '\t',
      '\u00ad',
      '\u3002',
      '//evil.example',
    ),
    fc.string({ minLength: 1, maxLength: 3, unit: 'grapheme' }),
  );
  const at = fc.nat({ max: uri.length });
  const insert = fc.tuple(at, noise).map(
    ([i, text]) =>
      (from: string) =>
        from.slice(0, i) + text + from.slice(i),
  );
  const remove = fc.tuple(at, fc.integer({ min: 1, max: 4 })).map(
    ([i, n]) =>
      (from: string) =>
        from.slice(0, i) + from.slice(i + n),
  );
  const turnCase = at.map((i) => (from: string) => {
    const letter = from.charAt(i);
    const turned = letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase();
    return from.slice(0, i) + turned + from.slice(i + 1);
  });
  const encode = at.map((i) => (from: string) => {
    const code = from.charCodeAt(i);
    return Number.isNaN(code) || code > 127
      ? `${from}%20`
      : `${from.slice(0, i)}%${code.toString(16).padStart(2, '0')}${from.slice(i + 1)}`;
  });
  const parsed = fc.constant((from: string) => (URL.canParse(from) ? new URL(from).href : `${from}/`));
  return fc
    .array(fc.oneof(insert, remove, turnCase, encode, parsed), { minLength: 1, maxLength: 3 })
    .map((changes) => changes.reduce((text, change) => change(text), uri))
    .filter((text) => text !== uri && text !== '' && text.isWellFormed());
}

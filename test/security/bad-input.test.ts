/** Whatever is sent: a clear 4xx in the sender's own format, never a 500, never a stack. */
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person } from '../support/person.ts';
import { discover, registerAccount, registerClient, signIn } from '../support/relying-party.ts';
import { answerOf, expectJson, expectPage } from './answers.ts';

let app: TestApp;
let person: Person;
let interaction: string;

// Closing the application fails when any request of this file was answered with a 500.
beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), await registerAccount(app));
  const rp = await discover(app, await registerClient(app));
  interaction = new URL((await person.open((await rp.start({ prompt: 'login' })).url)).url).pathname;
});
afterAll(() => app.close());

const json = 'application/json';
const form = 'application/x-www-form-urlencoded';

let senders = 0;
/** Each from an address of its own, so that the limits per address do not answer first. */
async function post(path: string, type: string | undefined, body: string | Uint8Array, accept = '*/*') {
  senders += 1;
  const from = `10.0.${senders >> 8}.${senders & 255}`;
  const headers = { accept, 'x-forwarded-for': from, ...(type && { 'content-type': type }) };
  const response = await person.request(path, { method: 'POST', body, headers });
  return answerOf(response);
}

const jsonRoutes = () => [
  '/auth/login',
  '/auth/register',
  '/account/profile',
  '/account/password',
  `${interaction}/login`,
  `${interaction}/consent`,
  '/clients',
];
const formRoutes = () => jsonRoutes().filter((path) => path !== '/clients');

describe('a JSON body', () => {
  const malformed: [string, string][] = [
    ['cut off', '{"email":'],
    ['no JSON at all', 'email=a'],
    ['a lone value', '"text"'],
    ['an array', '[]'],
    ['null', 'null'],
    ['the wrong types', '{"email":{"$gt":""},"password":["x"],"name":1,"redirect_uris":7,"decision":{}}'],
    [
      'NUL bytes',
      '{"email":"a\\u0000@b.example","password":"long enough \\u0000","name":"\\u0000","redirect_uris":["https://a.example/\\u0000"],"decision":"\\u0000"}',
    ],
    [
      'half a surrogate pair',
      '{"email":"\\ud800@b.example","password":"x","name":"\\ud800","client_name":"\\ud800","redirect_uris":["https://a.example/"],"decision":"\\ud800"}',
    ],
    [
      '__proto__',
      '{"__proto__":{"email":"a@b.example","password":"long enough","name":"x"},"constructor":{"prototype":{"x":1}},"redirect_uris":1,"decision":1}',
    ],
    ['ten thousand levels', `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`],
    ['ten thousand arrays', `${'['.repeat(10_000)}${']'.repeat(10_000)}`],
  ];

  test.each(malformed)('%s is a 400 with words', async (_what, body) => {
    for (const path of jsonRoutes()) {
      const answer = await post(path, json, body);
      // A profile with no known member changes nothing, and a consent without a decision is a no: both are answers.
      if (answer.status === 200 && (path === '/account/profile' || path.endsWith('/consent'))) continue;
      expectJson(answer, [400, 401]);
    }
    expect(({} as Record<string, unknown>).email).toBeUndefined();
  });

  test('that is not UTF-8 is refused, not repaired', async () => {
    const body = Buffer.from('{"email":"a\xff@b.example","password":"long enough","name":"x"}', 'latin1');
    for (const path of jsonRoutes()) expectJson(await post(path, json, body), 400);
    for (const charset of ['utf-16', 'latin1', 'nonsense']) {
      for (const path of jsonRoutes()) expectJson(await post(path, `${json}; charset=${charset}`, '{}'), [400, 415]);
    }
  });

  test('with a password of a megabyte is too large', async () => {
    const body = JSON.stringify({ email: 'a@b.example', name: 'x', password: 'x'.repeat(1_000_000) });
    for (const path of jsonRoutes()) expectJson(await post(path, json, body), 413);
  });

  test('with a password of 60,000 characters costs no hashing', async () => {
    const body = JSON.stringify({ email: 'a@b.example', name: 'x', password: 'x'.repeat(60_000) });
    for (const path of ['/auth/login', '/auth/register', `${interaction}/login`]) {
      expectJson(await post(path, json, body), 400);
    }
  });

  test('is answered in JSON even to a browser (its content type wins over Accept)', async () => {
    for (const path of jsonRoutes()) expectJson(await post(path, json, '{', 'text/html,*/*;q=0.8'), 400);
  });

  test('that is compressed may not grow without end', async () => {
    const bomb = gzipSync(JSON.stringify({ email: 'x'.repeat(10_000_000) }));
    const response = await fetch(`${app.origin}/auth/login`, {
      method: 'POST',
      body: bomb,
      headers: { 'content-type': json, 'content-encoding': 'gzip' },
    });
    expect(response.status).toBe(413);
    for (const encoding of ['nonsense', 'gzip']) {
      const headers = { 'content-type': json, 'content-encoding': encoding };
      const refused = await fetch(`${app.origin}/auth/login`, { method: 'POST', body: '{}', headers });
      expect([400, 415]).toContain(refused.status);
    }
  });
});

describe('a form', () => {
  const malformed: [string, string][] = [
    ['empty', ''],
    ['without names', '=&=&&&'],
    [
      'names said twice',
      'email=a%40b.example&email=c%40d.example&password=long+enough&password=x&name=a&name=b&decision=allow&decision=deny',
    ],
    [
      'arrays and objects',
      'email[]=a&email[$gt]=&password[0]=x&name[__proto__]=x&__proto__[x]=1&decision[]=allow&scope[]=x',
    ],
    ['NUL bytes', 'email=a%00%40b.example&password=long%00enough&name=%00&decision=%00'],
    ['broken percent signs', 'email=%&password=%zz&name=%e0%a4%a&decision=%'],
    ['bytes that are not UTF-8', 'email=a%ff%40b.example&password=%c3%28long&name=%ff&decision=%ff'],
    ['200 parameters too many', 'x=1&'.repeat(400)],
  ];

  test.each(malformed)('%s comes back as a page that can be mended', async (_what, body) => {
    for (const path of formRoutes()) {
      const answer = await post(path, form, body);
      if (answer.status === 303 && (path === '/account/profile' || path.endsWith('/consent'))) continue;
      expectPage(answer, [400, 413, 422]);
    }
  });

  test('of a megabyte is too large', async () => {
    for (const path of formRoutes()) expectPage(await post(path, form, `password=${'x'.repeat(1_000_000)}`), 413);
  });

  test('is answered with a page even to a program that takes JSON', async () => {
    expectPage(await post('/auth/login', form, 'email=&password=', json), 422);
  });

  test('is refused in JSON where programs alone register', async () => {
    for (const path of ['/clients', '/oidc/reg', '/clients/x/secret']) {
      expectJson(await post(path, form, '{"client_name":"Mine"}', 'text/html'), [401, 415]);
    }
  });

  test('never shows again what would be markup', async () => {
    const typed = '"><script>alert(1)</script>';
    for (const path of ['/auth/login', '/auth/register', `${interaction}/login`]) {
      const { text } = await post(
        path,
        form,
        new URLSearchParams({ email: typed, name: typed, password: '' }).toString(),
      );
      expect(text).not.toContain('<script>alert');
      expect(text).toContain('&lt;script&gt;alert(1)');
    }
  });
});

test('another content type is 415, in the format that is asked for', async () => {
  for (const type of ['text/plain', 'multipart/form-data; boundary=x', 'application/xml', 'nonsense', undefined]) {
    for (const path of jsonRoutes()) {
      expectJson(await post(path, type, Buffer.from('{"email":"a@b.example"}'), json), 415);
      expectPage(await post(path, type, Buffer.from('{"email":"a@b.example"}'), 'text/html'), 415);
    }
  }
});

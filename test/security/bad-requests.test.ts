/** Odd addresses, methods and headers: a clear 4xx, never a 500, never a stack. */
import { createConnection } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person } from '../support/person.ts';
import { registerAccount, signIn } from '../support/relying-party.ts';
import { answerOf, expectJson, expectNoInside, expectPage } from './answers.ts';

const json = 'application/json';

let app: TestApp;
let person: Person;

// Closing the application fails when any request of this file was answered with a 500.
beforeAll(async () => {
  app = await startApp();
  person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), await registerAccount(app));
});
afterAll(() => app.close());

describe('an address', () => {
  const open = async (path: string, accept: string) => {
    const response = await fetch(app.origin + path, { headers: { accept }, redirect: 'manual' });
    return answerOf(response);
  };

  const broken = ['%', '%zz', '%e0%a4%a', '%c0%af', '%ff'];
  const behind = ['/auth/interaction/', '/clients/', '/oidc/auth/', '/'];

  test.each(behind)('%s with broken percent-encoding is a 4xx', async (path) => {
    for (const end of broken) {
      expectJson(await open(path + end, json), [400, 404]);
      expectPage(await open(path + end, 'text/html'), [400, 404]);
    }
  });

  test('of nothing is 404, as a page or as JSON', async () => {
    const odd = [
      '/nothing',
      '/auth',
      '/%00',
      '/clients/%00',
      '/auth/interaction/x/nothing',
      '/constructor',
      '/__proto__',
      '/.env',
      '/.git/config',
      '/assets/..%2f..%2fpackage.json',
      '/assets/%00',
      `/${'x'.repeat(5000)}`,
    ];
    for (const path of odd) {
      expectJson(await open(path, json), [400, 404]);
      expectPage(await open(path, 'text/html'), [400, 404]);
    }
  });

  test('with strange parameters is read as well as it can be', async () => {
    const odd = [
      '?return_to=%00',
      '?return_to[]=x&return_to[__proto__]=y',
      '?%',
      '?__proto__=1',
      `?${'a=1&'.repeat(2000)}`,
      '?done=__proto__',
      '?done=constructor',
    ];
    for (const query of odd) {
      for (const path of ['/auth/login', '/auth/register', '/']) {
        const answer = await open(path + query, 'text/html');
        expect([200, 400, 431]).toContain(answer.status);
        expectNoInside(answer.text);
      }
      const account = await person.request(`/account${query}`);
      expect([query, account.status]).toEqual([query, 200]);
    }
  });
});

describe('a method', () => {
  const wrong: [string, string, string][] = [
    ['GET', '/auth/logout', 'POST'],
    ['PUT', '/auth/login', 'GET, HEAD, POST'],
    ['DELETE', '/account', 'GET, HEAD'],
    ['POST', '/livez', 'GET, HEAD'],
    ['PATCH', '/clients/x', 'GET, HEAD, PUT, DELETE'],
    ['GET', '/clients', 'POST'],
    ['DELETE', '/auth/interaction/x', 'GET, HEAD'],
  ];

  test.each(wrong)('%s %s is 405 and names those that work', async (method, path, allowed) => {
    const response = await fetch(app.origin + path, { method, headers: { accept: json } });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe(allowed);
    expect(await response.json()).toMatchObject({ error: 'method_not_allowed' });
    const page = await fetch(app.origin + path, { method, headers: { accept: 'text/html' } });
    expect(page.status).toBe(405);
    expect(page.headers.get('content-type')).toContain('text/html');
  });

  test('that nobody knows is a 4xx', async () => {
    for (const method of ['PROPFIND', 'SEARCH', 'LINK']) {
      const { status } = await fetch(`${app.origin}/auth/login`, { method });
      expect([400, 404, 405]).toContain(status);
    }
  });
});

describe('headers', () => {
  test('that make no sense count as none', async () => {
    const odd: Record<string, string>[] = [
      { cookie: 'latchkey_session=%; latchkey_session.sig=%; ;;=;latchkey-device=~~~' },
      { cookie: `latchkey_session=${'x'.repeat(8000)}` },
      { cookie: 'latchkey_session=\xff\x80' },
      { authorization: 'Bearer' },
      { authorization: `Bearer ${'x'.repeat(8000)}` },
      { accept: 'nonsense' },
      { accept: '*/*;q=nonsense,text/' },
      { 'x-forwarded-for': 'nonsense, ::::' },
      { 'accept-language': 'x'.repeat(5000) },
    ];
    for (const headers of odd) {
      for (const path of ['/', '/auth/login', '/clients/x', '/auth/interaction/x']) {
        const response = await fetch(app.origin + path, { headers, redirect: 'manual' });
        expect([path, headers, response.status < 500]).toEqual([path, headers, true]);
        expectNoInside(await response.text());
      }
    }
  });

  test.each([
    ['no host', 'GET / HTTP/1.1\r\nconnection: close\r\n\r\n', /^HTTP\/1\.1 400 /],
    [
      'an absolute address of elsewhere',
      'GET http://evil.example/auth/login HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n',
      /^HTTP\/1\.1 (200|302) (?![\s\S]*evil\.example)/,
    ],
    [
      'two lengths',
      'POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx',
      /^HTTP\/1\.1 400 /,
    ],
    [
      'a length and chunks',
      'POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      /^HTTP\/1\.1 400 /,
    ],
    ['no HTTP', 'hello\r\n\r\n', /^HTTP\/1\.1 400 /],
  ])('%s', async (_what, bytes, expected) => {
    const { hostname, port } = new URL(app.origin);
    const socket = createConnection(Number(port), hostname);
    socket.write(bytes);
    let answer = '';
    for await (const chunk of socket.setEncoding('utf8')) answer += chunk;
    expect(answer).toMatch(expected);
  });
});

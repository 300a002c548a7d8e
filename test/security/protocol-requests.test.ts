/**
 * Malformed requests at the protocol endpoints: a clear 4xx as a page or as JSON, never a 500, and never a redirect to
 * an address that was not checked. (Closing the application fails when any request here was answered with a 500.)
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson } from '../support/person.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import { answerOf, expectJson, expectPage } from './answers.ts';
import { authorizationUrl, basic, issueCode, outwardTargets, type SignedIn, signedInPerson } from './protocol.ts';

let app: TestApp;
let client: Registration;
/** Signed in with nothing left to ask, so that whatever is accepted shows in the redirect. */
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  client = await registerClient(app, { redirect_uris: ['https://client.example/cb'] });
  signedIn = await signedInPerson(app);
  await issueCode(app, client, signedIn, { redirect_uri: 'https://client.example/cb' });
});
afterAll(() => app.close());

const parameters = [
  ...[
    'client_id',
    'response_type',
    'redirect_uri',
    'scope',
    'state',
    'nonce',
    'code_challenge',
    'code_challenge_method',
  ],
  ...['response_mode', 'prompt', 'max_age', 'claims', 'login_hint', 'id_token_hint', 'ui_locales', 'claims_locales'],
  ...['acr_values', 'display', 'dpop_jkt', 'request', 'request_uri', 'registration', 'resource', 'unknown'],
];

/** The address of a good request in which one parameter is written as given, not encoded any more. */
function withRaw(parameter: string, ...raw: string[]): string {
  const url = new URL(authorizationUrl(app, client, { redirect_uri: 'https://client.example/cb' }));
  url.searchParams.delete(parameter);
  return `${url.href}&${raw.map((value) => `${parameter}=${value}`).join('&')}`;
}

const people = () => [createPerson(app.origin), signedIn.person];

/** A page, or for a signed-in person the registered address with an error. */
async function expectRefused(response: Response, url: string): Promise<void> {
  const location = response.headers.get('location');
  const answer = await answerOf(response);
  if (location === null) {
    expectPage(answer, 400);
    expect(outwardTargets(answer.text).every((target) => target.startsWith('https://client.example/cb?error='))).toBe(
      true,
    );
  } else {
    expect(location, url).toMatch(/^https:\/\/client\.example\/cb\?error=\w+&/);
  }
}

describe('an authorization request', () => {
  test.each(parameters)('with bytes in %s that are no text is a page that says so', async (parameter) => {
    for (const raw of ['a%00b', '%00', 'a%zzb', 'a%', '%ff%fe', '%c0%af', '%ed%a0%80']) {
      for (const person of people()) {
        const response = await person.request(withRaw(parameter, raw));
        expect(response.headers.get('location'), raw).toBeNull();
        expectPage(await answerOf(response), 400);
      }
    }
  });

  test.each(parameters.filter((name) => !['unknown', 'resource'].includes(name)))(
    'with %s twice is refused',
    async (name) => {
      const good = new URL(
        authorizationUrl(app, client, { redirect_uri: 'https://client.example/cb' }),
      ).searchParams.get(name);
      for (const pair of [
        [good ?? 'x', 'https%3A%2F%2Fevil.example%2F'],
        ['https%3A%2F%2Fevil.example%2F', good ?? 'x'],
        ['x', 'x'],
      ]) {
        for (const person of people()) {
          const url = withRaw(name, ...pair);
          await expectRefused(await person.request(url), url);
        }
      }
    },
  );

  test('with parameters written as arrays or objects takes none of them', async () => {
    for (const name of [
      'client_id[]',
      'redirect_uri[0]',
      'redirect_uri[__proto__]',
      '__proto__[client_id]',
      'constructor',
    ]) {
      const url = `${app.issuer}/auth?response_type=code&scope=openid&${encodeURIComponent(name)}=https://evil.example/`;
      const response = await signedIn.person.request(url);
      expectPage(await answerOf(response), 400);
    }
  });

  test.each(parameters)('with 7,000 characters in %s is taken whole or refused', async (parameter) => {
    const long = 'x'.repeat(7000);
    for (const person of people()) {
      const url = withRaw(parameter, long);
      const response = await person.request(url);
      const location = response.headers.get('location') ?? '';
      if (/^\/auth\/interaction\//.test(location)) continue;
      if (location.includes('code=')) {
        const echoed = new URL(location).searchParams.get('state');
        expect(echoed).toBe(parameter === 'state' ? long : 'state-of-the-client');
      } else {
        await expectRefused(response, url);
      }
    }
  });

  test('that is longer than headers may be is a 4xx', async () => {
    const response = await fetch(withRaw('state', 'x'.repeat(20_000)), { redirect: 'manual' });
    expect(response.status).toBe(431);
  });

  test('of any kind is never a 500, nor leads elsewhere', async () => {
    const value = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.webUrl(),
      fc.json(),
      fc.constantFrom('none', 'login', 'openid'),
    );
    const odd = fc.dictionary(fc.constantFrom(...parameters), value, { minKeys: 1, maxKeys: 4 });
    await fc.assert(
      fc.asyncProperty(odd, async (changes) => {
        const url = authorizationUrl(app, client, { redirect_uri: 'https://client.example/cb', ...changes });
        const response = await signedIn.person.request(url);
        expect(response.status, url).toBeLessThan(500);
        const target = response.headers.get('location') ?? 'https://client.example/cb?';
        expect(target, url).toMatch(/^(https:\/\/client\.example\/cb[?#]|\/auth\/interaction\/[\w-]+$)/);
      }),
      { numRuns: 100 },
    );
  });
});

const posted: Record<string, string[]> = {
  token: [
    'grant_type',
    'code',
    'redirect_uri',
    'code_verifier',
    'refresh_token',
    'scope',
    'client_id',
    'client_secret',
  ],
  introspection: ['token', 'token_type_hint', 'client_id'],
  revocation: ['token', 'token_type_hint', 'client_id'],
  request: ['client_id', 'redirect_uri', 'scope', 'claims', 'request', 'request_uri', 'max_age', 'dpop_jkt'],
  userinfo: ['access_token', 'scope'],
  'session/end/confirm': ['xsrf', 'logout'],
};
const endpoints = Object.keys(posted);

/** A body as it is, to an endpoint that would accept its sender. */
async function send(endpoint: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) {
  const response = await fetch(`${app.issuer}/${endpoint}`, {
    method: 'POST',
    body,
    redirect: 'manual',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      accept: 'application/json',
      ...basic(client),
      ...headers,
    },
  });
  expect(response.headers.get('location')).toBeNull();
  return answerOf(response);
}

describe('a request posted to', () => {
  test.each(endpoints)('%s with a body that is no form is refused', async (endpoint) => {
    for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x', 'application/xml', 'x']) {
      expectJson(await send(endpoint, '{"token":"x"}', { 'content-type': type }), 400);
    }
    expectJson(await send(endpoint, `token=${'x'.repeat(100_000)}`), [400, 413]);
    expectJson(await send(endpoint, '&'.repeat(50_000)), 400);
    expectJson(await send(endpoint, '%'), 400);
    expectJson(await send(endpoint, new Uint8Array([0xff, 0xfe, 0x3d, 0xff])), 400);
    expectJson(
      await send(endpoint, 'a=b', { 'content-type': 'application/x-www-form-urlencoded; charset=klingon' }),
      400,
    );
  });

  test.each(endpoints)(
    '%s with a parameter that is malformed or there twice is answered with no more than that',
    async (endpoint) => {
      const others = {
        token: 'x',
        response_type: 'code',
        redirect_uri: 'https://client.example/cb',
        grant_type: 'refresh_token',
      };
      for (const parameter of posted[endpoint] ?? []) {
        const { [parameter as 'token']: _, ...rest } = others;
        const start = new URLSearchParams(rest).toString();
        const values = ['%00', 'a%00b', '%zz', '%ff%fe', '%f0%9f%92%a9', 'x'.repeat(20_000), '%7B%22a%22%3A'];
        for (const value of values) {
          const answer = await send(endpoint, `${start}&${parameter}=${value}`);
          // These two say nothing of what they do not know (RFC 7662 §2.2, RFC 7009 §2.2).
          if (answer.status === 200) expect(['', '{"active":false}']).toContain(answer.text);
          else if (answer.status === 201) expect(JSON.parse(answer.text)).toHaveProperty('request_uri');
          else expectJson(answer, 400);
        }
        expectJson(await send(endpoint, `${start}&${parameter}=a&${parameter}=b`), 400);
      }
    },
  );

  test.each(['token', 'introspection', 'revocation', 'request'])(
    '%s with odd credentials is refused',
    async (endpoint) => {
      const encoded = (text: string | Buffer) => `Basic ${Buffer.from(text).toString('base64')}`;
      const odd = [
        ...[
          'Basic',
          'Basic ',
          'Basic ===',
          'Basic a b',
          'Bearer x',
          'Digest x',
          encoded('no-colon'),
          encoded(':'),
          encoded('%:%'),
        ],
        ...[
          encoded('a\0b:c'),
          encoded('a%00b:c'),
          encoded(Buffer.from([0xff, 0xfe, 0x3a, 0xff])),
          encoded('a'.repeat(5000)),
        ],
      ];
      for (const authorization of odd) {
        expectJson(await send(endpoint, 'grant_type=client_credentials&token=x', { authorization }), [400, 401]);
      }
    },
  );

  test('any that programs call is JSON also where the method is wrong, whatever is sent and asked for', async () => {
    for (const endpoint of ['token', 'request', 'introspection', 'revocation', 'device/auth']) {
      for (const method of ['PUT', 'PATCH', 'DELETE']) {
        for (const accept of ['application/json', 'text/html', '*/*']) {
          const headers = { accept, 'content-type': 'application/x-www-form-urlencoded' };
          const response = await fetch(`${app.issuer}/${endpoint}`, { method, headers, body: 'token=x' });
          expectJson(await answerOf(response), 405);
        }
      }
    }
  });

  test('request with claims nested without end is refused, and so is the address with them', async () => {
    const { client_id } = client;
    const start = `response_type=code&client_id=${client_id}&redirect_uri=https://client.example/cb&scope=openid`;
    for (const levels of [100, 6_000, 25_000]) {
      const [before, after] = ['{"userinfo":{"email":{"values":', '}}}'].map(encodeURIComponent);
      // Brackets as they are: percent-encoded they would soon be too long.
      const claims = `${before}${'['.repeat(levels)}${']'.repeat(levels)}${after}`;
      expectJson(await send('request', `${start}&claims=${claims}`), 400);
      if (levels > 6_000) continue;
      const response = await signedIn.person.request(`${app.issuer}/auth?${start}&claims=${claims}`);
      expect(response.headers.get('location')).toMatch(/^https:\/\/client\.example\/cb\?error=invalid_request&/);
    }
  });

  test('token with anything at all is a 4xx in JSON', async () => {
    const names = posted.token?.filter((name) => !name.startsWith('client')) ?? [];
    const value = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('authorization_code', 'refresh_token', 'client_credentials'),
    );
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom(...names), value), async (changes) => {
        expectJson(await send('token', new URLSearchParams(changes).toString()), 400);
      }),
      { numRuns: 60 },
    );
  });
});

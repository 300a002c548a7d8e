/** Where an error answer to an authorization request takes the browser: to a checked address, or nowhere. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, readText } from '../support/person.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import { authorizationUrl, issueCode, outwardTargets, type Parameters, signedInPerson, vouchFor } from './protocol.ts';

const redirectUri = 'https://client.example/cb';

let app: TestApp;
let vouched: Registration;
let unverified: Registration;

beforeAll(async () => {
  app = await startApp();
  vouched = await registerClient(app, { redirect_uris: [redirectUri], client_name: 'Alder Bank' });
  unverified = await registerClient(app, { redirect_uris: [redirectUri], client_name: 'Weed Games' });
  await vouchFor(app, vouched);
});
afterAll(() => app.close());

const stranger = () => createPerson(app.origin);

/** The parameters of an answer, wherever its response mode puts them. */
function answerIn(location: string | null): Record<string, string> {
  const { searchParams, hash } = new URL(location ?? 'about:blank');
  return Object.fromEntries([...searchParams, ...new URLSearchParams(hash.slice(1))]);
}

/** Each is refused after the client and its redirect URI were found in order. */
const faults: [string, Parameters][] = [
  ['an unsupported response type', { response_type: 'token' }],
  ['another unsupported response type', { response_type: 'code id_token', nonce: 'n' }],
  ['a missing response type', { response_type: undefined }],
  ['an unsupported prompt', { prompt: 'dance' }],
  ['prompt=none beside another', { prompt: 'none login' }],
  ['a negative max_age', { max_age: '-1' }],
  ['a plain code challenge', { code_challenge_method: 'plain' }],
  ['broken claims', { claims: '{' }],
  ['an unsupported response mode', { response_mode: 'carrier_pigeon' }],
  ['a request object', { request: 'e30.e30.' }],
  ['a request object elsewhere', { request_uri: 'https://evil.example/request' }],
  ['an id_token_hint that is no token', { id_token_hint: 'x' }],
  ['a registration', { registration: '{}' }],
];

describe('no error redirects to an unchecked URI (SECURITY 4)', () => {
  const unchecked = ['https://evil.example/cb', `${redirectUri}/`, `${redirectUri}#x`, 'javascript:alert(1)', 'x'];

  test.each(faults)('%s', async (_fault, changes) => {
    for (const [index, redirect_uri] of unchecked.entries()) {
      const client = index % 2 === 0 ? vouched : unverified;
      const response = await stranger().request(authorizationUrl(app, client, { ...changes, redirect_uri }));
      expect([response.status, response.headers.get('location')], redirect_uri).toEqual([400, null]);
      expect(outwardTargets(await response.text()), redirect_uri).toEqual([]);
    }
  });

  test.each([
    ['unknown', 'c_AAAAAAAAAAAAAAAAAAAAAA'],
    ['missing', undefined],
    ['empty', ''],
    ['malformed', '"><script>'],
    ['that of a prototype', '__proto__'],
  ])('the client is %s', async (_kind, client_id) => {
    for (const response_mode of [undefined, 'query', 'fragment', 'form_post']) {
      const changes = { client_id, response_mode, redirect_uri: redirectUri };
      const response = await stranger().request(authorizationUrl(app, vouched, changes));
      expect([response.status, response.headers.get('location')]).toEqual([400, null]);
      expect(outwardTargets(await response.text())).toEqual([]);
    }
  });

  test('several faults at once, in any mix', async () => {
    const signedIn = await signedInPerson(app);
    await issueCode(app, vouched, signedIn, { redirect_uri: redirectUri });
    const mix = fc.record({
      changes: fc.subarray(faults, { minLength: 0 }).map((some) => Object.assign({}, ...some.map(([, c]) => c))),
      response_mode: fc.constantFrom(undefined, 'query', 'fragment', 'form_post'),
      redirect_uri: fc.oneof(fc.constantFrom(...unchecked), fc.webUrl()),
    });
    await fc.assert(
      fc.asyncProperty(mix, async ({ changes, ...rest }) => {
        const url = authorizationUrl(app, vouched, { ...rest, ...changes });
        const response = await signedIn.person.request(url);
        expect([response.status, response.headers.get('location')], url).toEqual([400, null]);
        expect(outwardTargets(await response.text()), url).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});

describe('an error of a client that somebody vouches for', () => {
  test.each(faults)('goes back to it, with iss: %s (SECURITY 15)', async (_fault, changes) => {
    const response = await stranger().request(
      authorizationUrl(app, vouched, { redirect_uri: redirectUri, ...changes }),
    );
    const location = response.headers.get('location');
    expect([response.status, location?.startsWith(redirectUri)]).toEqual([303, true]);
    expect(answerIn(location)).toMatchObject({
      error: expect.stringMatching(/^[a-z_]+$/),
      state: 'state-of-the-client',
      iss: app.issuer,
    });
  });

  test('carries iss in a form too', async () => {
    const changes = { redirect_uri: redirectUri, response_mode: 'form_post', prompt: 'dance' };
    const page = await stranger().open(authorizationUrl(app, vouched, changes));
    expect(page.html).toContain(`action="${redirectUri}"`);
    expect(page.html).toContain(`name="iss" value="${app.issuer}"`);
  });
});

test('every answer with a code carries iss, and discovery says so (SECURITY 15)', async () => {
  const signedIn = await signedInPerson(app);
  const answers = [undefined, 'query', 'fragment'].map(async (response_mode) => {
    await issueCode(app, vouched, signedIn, { redirect_uri: redirectUri });
    const changes = { redirect_uri: redirectUri, response_mode };
    const response = await signedIn.person.request(authorizationUrl(app, vouched, changes));
    return answerIn(response.headers.get('location'));
  });
  for (const answer of await Promise.all(answers)) {
    expect(answer).toMatchObject({ code: expect.any(String), iss: app.issuer });
  }
  const discovery = await fetch(`${app.issuer}/.well-known/openid-configuration`);
  expect(await discovery.json()).toMatchObject({ authorization_response_iss_parameter_supported: true });
});

describe('an error of a client that nobody vouches for (SECURITY 5)', () => {
  const modes = [undefined, 'query', 'fragment', 'form_post'];

  test.each(faults)('is a page until somebody signed in: %s', async (_fault, changes) => {
    for (const response_mode of modes) {
      const url = authorizationUrl(app, unverified, { redirect_uri: redirectUri, response_mode, ...changes });
      const response = await stranger().request(url);
      const html = await response.text();
      expect([response.status, response.headers.get('location')], url).toEqual([400, null]);
      expect(html, url).not.toContain('<form');
      // A link the person may follow, which says where it leads.
      expect(outwardTargets(html).map((address) => new URL(address).host)).toEqual(['client.example']);
      expect(readText(html)).toContain('Go back to client.example');
    }
  });

  test('goes back to it once somebody is signed in', async () => {
    const { person } = await signedInPerson(app);
    for (const response_mode of ['query', 'fragment']) {
      const changes = { redirect_uri: redirectUri, response_mode, prompt: 'dance' };
      const response = await person.request(authorizationUrl(app, unverified, changes));
      expect(answerIn(response.headers.get('location'))).toMatchObject({ error: 'invalid_request', iss: app.issuer });
    }
  });

  test('answers a silent request, which waits for it in a frame', async () => {
    const changes = { redirect_uri: redirectUri, prompt: 'none' };
    const response = await stranger().request(authorizationUrl(app, unverified, changes));
    expect(answerIn(response.headers.get('location'))).toMatchObject({ error: 'login_required', iss: app.issuer });
  });
});

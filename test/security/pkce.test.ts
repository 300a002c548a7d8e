/** PKCE ties a code to the browser that asked for it; it can be neither left out, nor weakened, nor stripped. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  authorizationUrl,
  issueCode,
  type Parameters,
  pkce,
  post,
  redeem,
  type SignedIn,
  signedInPerson,
} from './protocol.ts';

let app: TestApp;
let open: Registration;
let confidential: Registration;
let careful: Registration;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  signedIn = await signedInPerson(app);
  open = await registerClient(app, { token_endpoint_auth_method: 'none' });
  confidential = await registerClient(app);
  careful = await registerClient(app, { require_pkce: true });
});
afterAll(() => app.close());

/** How the authorization endpoint answers a signed-in person: the error, or undefined when the request was accepted. */
async function errorOf(server: TestApp, client: Registration, changes: Parameters, who = signedIn) {
  const response = await who.person.request(authorizationUrl(server, client, changes));
  const location = response.headers.get('location') ?? '';
  return location.includes('error=') ? new URL(location).searchParams.get('error') : undefined;
}

const withoutChallenge = { code_challenge: undefined, code_challenge_method: undefined };
const { verifier, challenge } = pkce();

describe('a challenge', () => {
  test('is required of public clients (SECURITY 8)', async () => {
    expect(await errorOf(app, open, withoutChallenge)).toBe('invalid_request');
    expect(await errorOf(app, open, {})).toBeUndefined();
  });

  test('is required of a client that asks for it itself (SECURITY 10)', async () => {
    expect(await errorOf(app, careful, withoutChallenge)).toBe('invalid_request');
    expect(await errorOf(app, careful, {})).toBeUndefined();
  });

  test('is not required of other confidential clients, unless PKCE=all says so (SECURITY 10)', async () => {
    expect(await errorOf(app, confidential, withoutChallenge)).toBeUndefined();
    const strict = await startAppForTest({ env: { PKCE: 'all' } });
    const [client, who] = [await registerClient(strict), await signedInPerson(strict)];
    expect(await errorOf(strict, client, withoutChallenge, who)).toBe('invalid_request');
    expect(await errorOf(strict, client, {}, who)).toBeUndefined();
    const pushed = { response_type: 'code', client_id: client.client_id, redirect_uri: `${strict.origin}/callback` };
    expect((await post(strict, 'request', pushed, client)).body.error).toBe('invalid_request');
  });

  test.each([
    ['plain', { code_challenge: challenge, code_challenge_method: 'plain' }],
    ['no method, which would mean plain', { code_challenge: challenge, code_challenge_method: undefined }],
    ['an unknown method', { code_challenge: challenge, code_challenge_method: 'S512' }],
    ['a method in another case', { code_challenge: challenge, code_challenge_method: 's256' }],
    ['a method without a challenge', { code_challenge: undefined, code_challenge_method: 'S256' }],
    ['a challenge that is too short', { code_challenge: challenge.slice(1), code_challenge_method: 'S256' }],
    ['a challenge in another alphabet', { code_challenge: `${challenge.slice(1)}=`, code_challenge_method: 'S256' }],
  ])('is refused of any client: %s (SECURITY 8)', async (_kind, changes) => {
    for (const client of [open, confidential]) expect(await errorOf(app, client, changes)).toBe('invalid_request');
  });

  test('is refused in a pushed request just the same', async () => {
    const request = { response_type: 'code', client_id: open.client_id, redirect_uri: `${app.origin}/callback` };
    const bad = [{}, { code_challenge: challenge }, { code_challenge: challenge, code_challenge_method: 'plain' }];
    for (const changes of bad) {
      const { status, body } = await post(app, 'request', { ...request, ...changes }, open);
      expect([status, body.error]).toEqual([400, 'invalid_request']);
    }
  });
});

describe('a code that was asked for with a challenge', () => {
  test.each([
    ['without the verifier', undefined],
    ['with an empty verifier', ''],
    ['with another verifier', verifier],
    ['with the challenge as verifier', challenge],
    ['with a verifier that is too short', 'abc'],
  ])('is not redeemed %s', async (_kind, code_verifier) => {
    for (const client of [open, confidential]) {
      const issued = await issueCode(app, client, signedIn, {
        code_challenge: challenge,
        // The verifier that does not fit belongs to another challenge.
        ...(code_verifier === verifier && { code_challenge: pkce().challenge }),
      });
      const { status, body } = await redeem(app, client, { ...issued, verifier: code_verifier });
      expect([status, body.access_token]).toEqual([400, undefined]);
      expect(body.error).toMatch(/^invalid_(grant|request)$/);
    }
  });

  test('is redeemed with its own', async () => {
    expect((await redeem(app, open, await issueCode(app, open, signedIn))).status).toBe(200);
  });
});

test('a verifier without a challenge is a stripped challenge: invalid_grant (SECURITY 9)', async () => {
  const issued = await issueCode(app, confidential, signedIn, withoutChallenge);
  const stripped = await redeem(app, confidential, { ...issued, verifier });
  expect([stripped.status, stripped.body.error]).toEqual([400, 'invalid_grant']);
  // The code is not lost to its owner by somebody else's attempt.
  expect((await redeem(app, confidential, issued)).status).toBe(200);
});

test('discovery offers S256 and nothing else', async () => {
  const discovery = await fetch(`${app.issuer}/.well-known/openid-configuration`);
  expect(await discovery.json()).toMatchObject({ code_challenge_methods_supported: ['S256'] });
});

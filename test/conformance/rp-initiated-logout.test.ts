/** OpenID Foundation, `oidcc-rp-initiated-logout-certification-test-plan`. */
import { randomBytes } from 'node:crypto';
import { decodeJwt, exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Page, type Person, readText } from '../support/person.ts';
import { endSession } from './end-session.ts';
import { expectError, readKeys } from './expectations.ts';
import {
  authorize,
  completeFlow,
  newPerson,
  newRequest,
  postLogoutRedirectUri,
  register,
  type Suite,
  startSuite,
} from './harness.ts';
import type { Client, Fields } from './http.ts';

/** Long, to see that it comes back whole. */
const state = randomBytes(96).toString('base64url');

let suite: Suite;
let client: Client;

beforeAll(async () => {
  suite = await startSuite();
  client = await register(suite, { post_logout_redirect_uris: [postLogoutRedirectUri] });
});
afterAll(() => suite.app.close());

async function signIn(): Promise<{ person: Person; idToken: string }> {
  const person = newPerson(suite);
  const { tokens } = await completeFlow(suite, newRequest(client), { person });
  return { person, idToken: tokens.id_token };
}

async function expectSignedOut(person: Person): Promise<void> {
  const request = newRequest(client, { prompt: 'none' });
  const answer = await authorize(suite, request.parameters, { person });
  expectError(suite, request, answer, ['login_required', 'interaction_required', 'account_selection_required']);
}

/** What the suite asks a screenshot of. */
function expectSignedOutPage({ status, left, html }: Page): void {
  expect([status, left]).toEqual([200, undefined]);
  expect(readText(html)).toContain('You’re signed out');
}

test('oidcc-rp-initiated-logout-discovery-endpoint-verification: end_session_endpoint is named', () => {
  expect(URL.canParse(suite.metadata.end_session_endpoint)).toBe(true);
});

test('oidcc-rp-initiated-logout: back to the registered address with the state, and nobody is signed in', async () => {
  const { person, idToken } = await signIn();
  const uri = { post_logout_redirect_uri: postLogoutRedirectUri };
  const { left } = await endSession(suite, person, { ...uri, id_token_hint: idToken, state });
  expect(left?.href).toBe(`${postLogoutRedirectUri}?state=${state}`);
  await expectSignedOut(person);
});

test('oidcc-rp-initiated-logout-no-state: back to the registered address without any state', async () => {
  const { person, idToken } = await signIn();
  const uri = { post_logout_redirect_uri: postLogoutRedirectUri };
  const { left } = await endSession(suite, person, { ...uri, id_token_hint: idToken });
  expect(left?.href).toBe(postLogoutRedirectUri);
  await expectSignedOut(person);
});

describe('no redirect', () => {
  let signedIn: Awaited<ReturnType<typeof signIn>>;
  beforeAll(async () => {
    signedIn = await signIn();
  });

  async function expectErrorPage(parameters: Fields): Promise<void> {
    const page = await endSession(suite, signedIn.person, { state, ...parameters });
    expect([page.status, page.left]).toEqual([400, undefined]);
    expect(page.headers.get('content-type')).toMatch(/^text\/html/);
    expect(page.html).not.toContain(postLogoutRedirectUri);
  }

  test('oidcc-rp-initiated-logout-bad-post-logout-redirect-uri: to an address that is not registered', () =>
    expectErrorPage({
      id_token_hint: signedIn.idToken,
      post_logout_redirect_uri: 'https://suite.example/test/a/latchkey/bad_post_logout_redirect',
    }));

  test('oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri: to a registered one with a query added', () =>
    expectErrorPage({
      id_token_hint: signedIn.idToken,
      post_logout_redirect_uri: `${postLogoutRedirectUri}?foo=bar`,
    }));

  test('oidcc-rp-initiated-logout-modified-id-token-hint: with a hint whose alg became none', () =>
    expectErrorPage({
      id_token_hint: new UnsecuredJWT(decodeJwt(signedIn.idToken)).encode(),
      post_logout_redirect_uri: postLogoutRedirectUri,
    }));

  test('oidcc-rp-initiated-logout-bad-id-token-hint: with a hint that somebody else signed', async () => {
    const { privateKey, publicKey } = await generateKeyPair('RS256');
    const [own] = (await readKeys(suite)).keys.filter(({ alg }) => alg === 'RS256');
    expect((await exportJWK(publicKey)).n).not.toBe(own?.n);
    const forged = await new SignJWT(decodeJwt(signedIn.idToken))
      .setProtectedHeader({ alg: 'RS256', kid: own?.kid as string })
      .sign(privateKey);
    await expectErrorPage({ id_token_hint: forged, post_logout_redirect_uri: postLogoutRedirectUri });
  });

  test('oidcc-rp-initiated-logout-no-id-token-hint: without a hint, even when the person confirms', async () => {
    const { person } = await signIn();
    const asked = new URLSearchParams({ post_logout_redirect_uri: postLogoutRedirectUri, state });
    const page = await person.open(`${suite.metadata.end_session_endpoint}?${asked}`);
    expect(page.left).toBeUndefined();
    expect(page.html).toContain('id="logout"');
    expectSignedOutPage(await person.submit(page, 'logout', {}, 'logout-confirm'));
  });
});

describe('signed out, and a page that says so', () => {
  test('oidcc-rp-initiated-logout-no-params: without any parameter', async () => {
    const { person } = await signIn();
    expectSignedOutPage(await endSession(suite, person, {}));
    await expectSignedOut(person);
  });

  test('oidcc-rp-initiated-logout-no-post-logout-redirect-uri: with hint and state, and no address', async () => {
    const { person, idToken } = await signIn();
    expectSignedOutPage(await endSession(suite, person, { id_token_hint: idToken, state }));
    await expectSignedOut(person);
  });

  test('oidcc-rp-initiated-logout-only-state: with nothing but a state', async () => {
    const { person } = await signIn();
    expectSignedOutPage(await endSession(suite, person, { state }));
    await expectSignedOut(person);
  });
});

/**
 * The 38 modules of the Basic OP plan, which the Form Post plan runs again with `response_mode=form_post`. A module that
 * the suite skips where a feature is absent is a test here too: of the refusal that its RFC demands.
 */
import { UnsecuredJWT } from 'jose';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import type { Person } from '../support/person.ts';
import { scopeClaims, standardClaims } from './claims.ts';
import { expectError, expectErrorPage, expectRefused, expectTokens, readKeys, verifyIdToken } from './expectations.ts';
import {
  type AuthorizationRequest,
  authorize,
  completeFlow,
  newPerson,
  newPkceRequest,
  newRequest,
  passTime,
  redeem,
  redirectUri,
  register,
  type Suite,
  startSuite,
  userinfo,
} from './harness.ts';
import { type Client, type Fields, post, send } from './http.ts';

/** What a silent request answers when a page would be needed (OIDC Core §3.1.2.6). */
const interfaceNeeded = ['login_required', 'interaction_required', 'account_selection_required', 'consent_required'];

export function testBasicModules(responseMode: 'default' | 'form_post'): void {
  let suite: Suite;
  let client: Client;
  let secondClient: Client;
  /** Somebody who has signed in before, in a browser that most modules share. */
  let person: Person;

  beforeAll(async () => {
    suite = await startSuite();
    client = await register(suite, { token_endpoint_auth_method: 'client_secret_basic' });
    secondClient = await register(suite, { token_endpoint_auth_method: 'client_secret_basic' });
    person = newPerson(suite);
    await authorize(suite, newRequest(client).parameters, { person });
  });
  afterAll(() => suite.app.close());
  afterEach(() => {
    vi.useRealTimers();
  });

  const inMode = (changes: Fields): Fields => ({
    ...(responseMode === 'form_post' && { response_mode: 'form_post' }),
    ...changes,
  });
  const request = (changes: Fields = {}, by = client) => newRequest(by, inMode(changes));

  async function complete(asked: AuthorizationRequest = request(), options: Parameters<typeof completeFlow>[2] = {}) {
    const flow = await completeFlow(suite, asked, { person, ...options });
    expect(flow.mode).toBe(responseMode === 'default' ? 'query' : 'form_post');
    expect(Object.keys(flow.response ?? {}).sort()).toEqual(['code', 'iss', 'state']);
    return flow;
  }

  /** The claims from userinfo, each as OIDC Core §5.1 defines it, about the person of the ID token. */
  async function claimsFor(
    flow: Awaited<ReturnType<typeof complete>>,
    answer = userinfo(suite, flow.tokens.access_token),
  ) {
    const { status, headers, json } = await answer;
    expect(status).toBe(200);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
    expect(json.sub).toBe(flow.claims.sub);
    return standardClaims.parse(json);
  }

  async function expectClaimsOf(scopes: string[]): Promise<void> {
    const claims = await claimsFor(await complete(request({ scope: ['openid', ...scopes].join(' ') })));
    expect(Object.keys(claims).sort()).toEqual(['sub', ...scopes.flatMap((scope) => scopeClaims[scope] ?? [])].sort());
  }

  test('oidcc-server: code, tokens, ID token and userinfo of a plain sign-in are in order', async () => {
    await readKeys(suite);
    const flow = await complete(request(), { person: newPerson(suite) });
    expect(flow.asked).toContain('login');
    expect(await claimsFor(flow)).toEqual({ sub: flow.claims.sub });
  });

  test('oidcc-response-type-missing: an error page, or invalid_request or unsupported_response_type', async () => {
    const asked = request({ response_type: undefined });
    const signedIn = await authorize(suite, asked.parameters, { person });
    expectError(suite, asked, signedIn, ['invalid_request', 'unsupported_response_type']);
    expectErrorPage(await authorize(suite, asked.parameters));
  });

  test('oidcc-idtoken-signature: signed with RS256 and a key of the JWKS where no algorithm was asked for', async () => {
    const flow = await complete();
    await verifyIdToken(suite, flow.request, flow.tokens, { alg: 'RS256' });
  });

  test('oidcc-idtoken-unsigned: `none` is neither advertised nor to be registered', async () => {
    expect(suite.metadata.id_token_signing_alg_values_supported).not.toContain('none');
    const answer = await send(`${suite.app.origin}/clients`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ redirect_uris: [redirectUri], id_token_signed_response_alg: 'none' }),
    });
    expectRefused(answer, ['invalid_client_metadata']);
  });

  test('oidcc-userinfo-get: userinfo answers GET', async () => {
    await claimsFor(await complete());
  });

  test('oidcc-userinfo-post-header: userinfo answers POST with the token in the header', async () => {
    const flow = await complete();
    const headers = { authorization: `Bearer ${flow.tokens.access_token}` };
    await claimsFor(flow, post(suite.metadata.userinfo_endpoint, {}, undefined, headers));
  });

  test('oidcc-userinfo-post-body: userinfo answers POST with the token in the body', async () => {
    const flow = await complete();
    await claimsFor(flow, post(suite.metadata.userinfo_endpoint, { access_token: flow.tokens.access_token }));
  });

  test('oidcc-ensure-request-without-nonce-succeeds-for-code-flow: no nonce sent, none in the ID token', async () => {
    const { claims } = await complete(request({ nonce: undefined }));
    expect(claims).not.toHaveProperty('nonce');
  });

  test('oidcc-scope-profile: userinfo has every claim of the scope', () => expectClaimsOf(['profile']));
  test('oidcc-scope-email: userinfo has every claim of the scope', () => expectClaimsOf(['email']));
  test('oidcc-scope-address: userinfo has every claim of the scope', () => expectClaimsOf(['address']));
  test('oidcc-scope-phone: userinfo has every claim of the scope', () => expectClaimsOf(['phone']));
  test('oidcc-scope-all: userinfo has every claim of all scopes together', () =>
    expectClaimsOf(['profile', 'email', 'address', 'phone']));

  test('oidcc-alternate-happy-flow: the order of scopes and parameters does not matter', async () => {
    const asked = request({ scope: 'email openid' });
    const parameters = Object.fromEntries(Object.entries(asked.parameters).reverse());
    const claims = await claimsFor(await complete({ ...asked, parameters }));
    expect(Object.keys(claims).sort()).toEqual(['email', 'email_verified', 'sub']);
  });

  test('oidcc-display-page: display=page is no error', () => succeedsWith({ display: 'page' }));
  test('oidcc-display-popup: display=popup is no error', () => succeedsWith({ display: 'popup' }));

  async function succeedsWith(changes: Fields): Promise<void> {
    await complete(request(changes), { person: newPerson(suite) });
  }

  test('oidcc-prompt-login: asks to sign in again, and the second auth_time is later', async () => {
    const own = newPerson(suite);
    const first = await complete(request(), { person: own });
    passTime(1);
    const second = await complete(request({ prompt: 'login' }), { person: own });
    expect(second.asked).toContain('login');
    expect(second.claims.auth_time).toBeGreaterThan(first.claims.auth_time as number);
  });

  test('oidcc-prompt-none-not-logged-in: an error says that a page would be needed', async () => {
    const asked = request({ prompt: 'none' });
    expectError(suite, asked, await authorize(suite, asked.parameters), interfaceNeeded);
  });

  test('oidcc-prompt-none-logged-in: succeeds silently with the same sub and auth_time', async () => {
    const first = await complete();
    const second = await complete(request({ prompt: 'none' }));
    expect(second.asked).toEqual([]);
    expect(second.claims).toMatchObject({ sub: first.claims.sub, auth_time: first.claims.auth_time });
  });

  test('oidcc-max-age-1: asks to sign in again after more than a second; auth_time is there, and later', async () => {
    const own = newPerson(suite);
    const first = await complete(request(), { person: own });
    passTime(2);
    const second = await complete(request({ max_age: '1' }), { person: own });
    expect(second.asked).toContain('login');
    expect(second.claims.auth_time).toBeGreaterThan(first.claims.auth_time as number);
    expect(second.claims.auth_time).toBeGreaterThanOrEqual(Date.now() / 1000 - 60);
  });

  test('oidcc-max-age-10000: does not ask to sign in again; auth_time is there, and the same', async () => {
    const first = await complete();
    const second = await complete(request({ max_age: '10000' }));
    expect(second.asked).toEqual([]);
    expect(second.claims).toMatchObject({ sub: first.claims.sub, auth_time: expect.any(Number) });
    expect(second.claims.auth_time).toBe(first.claims.auth_time);
  });

  test('oidcc-ensure-request-with-unknown-parameter-succeeds: extra=foobar is ignored', () =>
    succeedsWith({ extra: 'foobar' }));

  test('oidcc-id-token-hint: prompt=none with the hint of who is signed in succeeds with the same sub', async () => {
    const first = await complete();
    const second = await complete(request({ prompt: 'none', id_token_hint: first.tokens.id_token }));
    expect(second.claims.sub).toBe(first.claims.sub);
  });

  test('oidcc-login-hint: login_hint is no error', () => succeedsWith({ login_hint: suite.account.email }));
  test('oidcc-ui-locales: ui_locales is no error', () => succeedsWith({ ui_locales: 'se' }));
  test('oidcc-claims-locales: claims_locales is no error', () => succeedsWith({ claims_locales: 'se' }));

  test('oidcc-ensure-request-with-acr-values-succeeds: what is advertised is met, anything else ignored', async () => {
    const advertised = (suite.metadata.acr_values_supported ?? []) as string[];
    const { claims } = await complete(request({ acr_values: advertised.join(' ') || '1 2' }));
    if (advertised.length > 0) expect(advertised).toContain(claims.acr);
  });

  test('oidcc-codereuse: a code used again at once is refused, and its tokens end', async () => {
    const { request: asked, code, tokens } = await complete();
    expectRefused(await redeem(suite, asked, code), ['invalid_grant']);
    expect((await userinfo(suite, tokens.access_token)).status).toBe(401);
  });

  test('oidcc-codereuse-30seconds: a code used again after 30 seconds is refused, and its tokens end', async () => {
    const { request: asked, code, tokens } = await complete();
    passTime(30);
    expect((await userinfo(suite, tokens.access_token)).status).toBe(200);
    expectRefused(await redeem(suite, asked, code), ['invalid_grant']);
    expect((await userinfo(suite, tokens.access_token)).status).toBe(401);
  });

  test('oidcc-ensure-registered-redirect-uri: an unregistered one gets an error page and no redirect', async () => {
    const asked = request({ redirect_uri: `${redirectUri}/unregistered` });
    for (const browser of [person, newPerson(suite)]) {
      expectErrorPage(await authorize(suite, asked.parameters, { person: browser }));
    }
  });

  test('oidcc-ensure-post-request-succeeds: an authorization request may be posted', async () => {
    expect((await complete(request(), { method: 'POST' })).asked).toEqual([]);
    await complete(request(), { method: 'POST', person: newPerson(suite) });
  });

  test('oidcc-server-client-secret-post: the same flow with the secret in the body', async () => {
    const posting = await register(suite, { token_endpoint_auth_method: 'client_secret_post' });
    await claimsFor(await complete(request({}, posting)));
  });

  test('oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported: is rejected as unsupported', async () => {
    expect(suite.metadata.request_uri_parameter_supported).toBe(false);
    const asked = request({ request_uri: 'https://suite.example/test/a/latchkey/request.jwt' });
    expectError(suite, asked, await authorize(suite, asked.parameters, { person }), ['request_uri_not_supported']);
  });

  test('oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported: is rejected, never ignored', async () => {
    expect(suite.metadata.request_object_signing_alg_values_supported ?? []).not.toContain('none');
    const asked = request();
    const answer = await authorize(suite, { ...asked.parameters, request: unsigned(asked) }, { person });
    // Where signed ones are supported, an unsigned one is an invalid one.
    const signedSupported = suite.metadata.request_parameter_supported === true;
    expectError(suite, asked, answer, [signedSupported ? 'invalid_request_object' : 'request_not_supported']);
  });

  function unsigned({ parameters }: AuthorizationRequest): string {
    return new UnsecuredJWT(parameters).setIssuer(client.client_id).setAudience(suite.issuer).encode();
  }

  test('oidcc-claims-essential: a single essential claim comes from userinfo without its scope', async () => {
    const claims = JSON.stringify({ userinfo: { name: { essential: true } } });
    expect(await claimsFor(await complete(request({ claims })))).toMatchObject({ name: suite.account.name });
  });

  test('oidcc-ensure-request-object-with-redirect-uri: an unsigned one does not outrank the parameter', async () => {
    const asked = request();
    const parameters = { ...asked.parameters, redirect_uri: `${redirectUri}/unregistered`, request: unsigned(asked) };
    expectErrorPage(await authorize(suite, parameters, { person }));
  });

  test('oidcc-refresh-token: new tokens for the client that it was issued to, and for no other', async () => {
    const scope = { scope: 'openid offline_access', prompt: 'consent' };
    const refresh = (token = '', by = client) =>
      post(suite.metadata.token_endpoint, { grant_type: 'refresh_token', refresh_token: token }, by);
    for (const by of [client, secondClient]) {
      const flow = await complete(request(scope, by));
      expect(flow.tokens.refresh_token).toMatch(/^[\x20-\x7e]+$/);
      const refreshed = expectTokens(await refresh(flow.tokens.refresh_token, by));
      expect(refreshed.access_token).not.toBe(flow.tokens.access_token);
      // OIDC Core §12.2: the same person, sign-in and audience; the nonce may be left out.
      const claims = await verifyIdToken(suite, flow.request, refreshed);
      const { iss, sub, aud, auth_time } = flow.claims;
      expect(claims).toMatchObject({ iss, sub, aud, auth_time });
      expect(claims.iat).toBeGreaterThanOrEqual(flow.claims.iat as number);
      await claimsFor({ ...flow, tokens: refreshed });
      if (by === secondClient) expectRefused(await refresh(refreshed.refresh_token, client), ['invalid_grant']);
    }
  });

  test('oidcc-ensure-request-with-valid-pkce-succeeds: S256 is advertised and works', async () => {
    expect(suite.metadata.code_challenge_methods_supported).toContain('S256');
    await complete(newPkceRequest(client, inMode({})));
  });
}

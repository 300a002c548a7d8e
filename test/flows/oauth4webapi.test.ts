/** A second independent relying party, `oauth4webapi`: pushed requests, sender-constrained tokens, every way to authenticate. */
import { calculateJwkThumbprint, exportJWK, type JWK } from 'jose';
import * as oauth from 'oauth4webapi';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person } from '../support/person.ts';
import { allow, type Registration, registerAccount, registerClient, signIn } from '../support/relying-party.ts';

/** The server under test speaks plain http on loopback. */
const insecure = { [oauth.allowInsecureRequests]: true };

let app: TestApp;
let server: oauth.AuthorizationServer;
let account: Awaited<ReturnType<typeof registerAccount>>;
let redirectUri: string;

beforeAll(async () => {
  app = await startApp();
  const issuer = new URL(app.issuer);
  server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
  account = await registerAccount(app);
  redirectUri = `${app.origin}/callback`;
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

type Party = { client: oauth.Client; auth: oauth.ClientAuth };

async function withPrivateKey(metadata: Record<string, unknown> = {}): Promise<Party> {
  const { privateKey, publicKey } = await oauth.generateKeyPair('ES256');
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' };
  const registration = await registerClient(app, {
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [jwk] },
    ...metadata,
  });
  return { client: { client_id: registration.client_id }, auth: oauth.PrivateKeyJwt({ key: privateKey, kid: 'k1' }) };
}

/** What a request is made of, and what is needed to finish it. */
async function newRequest(extra: Record<string, string> = {}) {
  const verifier = oauth.generateRandomCodeVerifier();
  const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
  const parameters = new URLSearchParams({
    response_type: 'code',
    redirect_uri: redirectUri,
    scope: 'openid email',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...extra,
  });
  return { verifier, state, nonce, parameters };
}

async function push({ client, auth }: Party, parameters: URLSearchParams, DPoP?: oauth.DPoPHandle) {
  const options = { ...insecure, ...(DPoP && { DPoP }) };
  const response = await oauth.pushedAuthorizationRequest(server, client, auth, parameters, options);
  return oauth.processPushedAuthorizationResponse(server, client, response);
}

function addressOf({ client }: Party, parameters: URLSearchParams | { request_uri: string }): string {
  const query = new URLSearchParams([...new URLSearchParams(parameters as never), ['client_id', client.client_id]]);
  return `${server.authorization_endpoint}?${query}`;
}

/** Sends a person through, signing in and allowing when asked, and answers where the browser left to. */
async function goThrough(url: string, person: Person = createPerson(app.origin)): Promise<URL> {
  let page = await person.open(url);
  if (page.html.includes('id="login"')) page = await signIn(person, page, account);
  if (page.html.includes('id="consent"')) page = await allow(person, page);
  if (!page.left) throw new Error(`ended on a page (${page.status}): ${page.html.slice(0, 1000)}`);
  return page.left;
}

async function exchange(
  { client, auth }: Party,
  callback: URL,
  request: Awaited<ReturnType<typeof newRequest>>,
  DPoP?: oauth.DPoPHandle,
) {
  const answer = oauth.validateAuthResponse(server, client, callback, request.state);
  const options = { ...insecure, ...(DPoP && { DPoP }) };
  const response = await oauth.authorizationCodeGrantRequest(
    server,
    client,
    auth,
    answer,
    redirectUri,
    request.verifier,
    options,
  );
  const expected = { expectedNonce: request.nonce, requireIdToken: true };
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, expected);
  await oauth.validateApplicationLevelSignature(server, response, insecure);
  return tokens;
}

async function userinfo({ client }: Party, accessToken: string, DPoP?: oauth.DPoPHandle) {
  const options = { ...insecure, ...(DPoP && { DPoP }) };
  const response = await oauth.userInfoRequest(server, client, accessToken, options);
  return oauth.processUserInfoResponse(server, client, account.sub, response);
}

describe('a pushed request with DPoP', () => {
  test('goes all the way: tokens bound to the key, userinfo, refresh, introspection, revocation', async () => {
    const party = await withPrivateKey({ require_pushed_authorization_requests: true });
    const keys = await oauth.generateKeyPair('ES256', { extractable: true });
    const DPoP = oauth.DPoP(party.client, keys);
    const request = await newRequest({ scope: 'openid email offline_access', prompt: 'consent' });
    const pushed = await push(party, request.parameters, DPoP);
    expect(pushed.expires_in).toBeLessThanOrEqual(60);
    const tokens = await exchange(party, await goThrough(addressOf(party, pushed)), request, DPoP);
    expect(tokens.token_type).toBe('dpop');
    expect(oauth.getValidatedIdTokenClaims(tokens)).toMatchObject({ sub: account.sub, amr: ['pwd'] });
    expect(await userinfo(party, tokens.access_token, DPoP)).toMatchObject({ email: account.email });

    const refreshed = await oauth.processRefreshTokenResponse(
      server,
      party.client,
      await oauth.refreshTokenGrantRequest(server, party.client, party.auth, tokens.refresh_token ?? '', {
        ...insecure,
        DPoP,
      }),
    );
    expect(refreshed.token_type).toBe('dpop');
    const introspect = async () =>
      oauth.processIntrospectionResponse(
        server,
        party.client,
        await oauth.introspectionRequest(server, party.client, party.auth, refreshed.access_token, insecure),
      );
    const jkt = await calculateJwkThumbprint(await exportJWK(keys.publicKey));
    expect(await introspect()).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt }, sub: account.sub });
    await oauth.processRevocationResponse(
      await oauth.revocationRequest(server, party.client, party.auth, refreshed.access_token, insecure),
    );
    expect(await introspect()).toEqual({ active: false });
  });

  test('gives a code and tokens that are worth nothing without the key', async () => {
    const party = await withPrivateKey();
    const DPoP = oauth.DPoP(party.client, await oauth.generateKeyPair('ES256'));
    const thief = oauth.DPoP(party.client, await oauth.generateKeyPair('ES256'));
    const start = async () => {
      const request = await newRequest();
      return { request, callback: await goThrough(addressOf(party, await push(party, request.parameters, DPoP))) };
    };
    for (const proof of [undefined, thief]) {
      const { callback, request } = await start();
      await expect(exchange(party, callback, request, proof)).rejects.toMatchObject({ error: 'invalid_grant' });
    }
    const { callback, request } = await start();
    const tokens = await exchange(party, callback, request, DPoP);
    for (const proof of [undefined, thief]) {
      await expect(userinfo(party, tokens.access_token, proof)).rejects.toMatchObject({ status: 401 });
    }
    expect((await userinfo(party, tokens.access_token, DPoP)).sub).toBe(account.sub);
  });
});

describe('a pushed request', () => {
  test('must be pushed by a client that says so', async () => {
    const party = await withPrivateKey({ require_pushed_authorization_requests: true });
    const { parameters } = await newRequest();
    const page = await createPerson(app.origin).open(addressOf(party, parameters));
    expect([page.status, page.left]).toEqual([400, undefined]);
  });

  test('is for the client that pushed it', async () => {
    const [party, other] = [await withPrivateKey(), await withPrivateKey()];
    const pushed = await push(party, (await newRequest()).parameters);
    const page = await createPerson(app.origin).open(addressOf(other, pushed));
    expect([page.status, page.left]).toEqual([400, undefined]);
  });

  test('is used once', async () => {
    const party = await withPrivateKey();
    const person = createPerson(app.origin);
    const pushed = await push(party, (await newRequest()).parameters);
    expect((await goThrough(addressOf(party, pushed), person)).searchParams.get('code')).toBeTruthy();
    const again = await person.open(addressOf(party, pushed));
    expect(again.left?.searchParams.get('code')).toBeFalsy();
  });

  test('expires', async () => {
    const party = await withPrivateKey();
    const pushed = await push(party, (await newRequest()).parameters);
    const now = Date.now();
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(now + 61_000);
    const page = await createPerson(app.origin).open(addressOf(party, pushed));
    expect([page.status, page.left]).toEqual([400, undefined]);
  });

  test('may not be changed on the way', async () => {
    const party = await withPrivateKey();
    const person = createPerson(app.origin);
    const request = await newRequest();
    const pushed = await push(party, request.parameters);
    const url = `${addressOf(party, pushed)}&scope=openid+phone&state=forged&redirect_uri=https%3A%2F%2Fevil.example%2F`;
    const left = await goThrough(url, person);
    expect(left.href.startsWith(redirectUri)).toBe(true);
    expect((await exchange(party, left, request)).scope?.split(' ').sort()).toEqual(['email', 'openid']);
  });
});

describe('authentication of the client', () => {
  const ways: [string, (registration: Registration) => oauth.ClientAuth][] = [
    ['client_secret_basic', ({ client_secret = '' }) => oauth.ClientSecretBasic(client_secret)],
    ['client_secret_post', ({ client_secret = '' }) => oauth.ClientSecretPost(client_secret)],
    ['none', () => oauth.None()],
  ];

  test.each(ways)('%s', async (method, auth) => {
    const registration = await registerClient(app, { token_endpoint_auth_method: method });
    const party = { client: { client_id: registration.client_id }, auth: auth(registration) };
    const request = await newRequest();
    const tokens = await exchange(party, await goThrough(addressOf(party, request.parameters)), request);
    expect((await userinfo(party, tokens.access_token)).sub).toBe(account.sub);
  });

  test.each(['ES256', 'PS256', 'RS256', 'Ed25519'])('private_key_jwt with %s', async (alg) => {
    const { privateKey, publicKey } = await oauth.generateKeyPair(alg);
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg, use: 'sig' };
    const registration = await registerClient(app, {
      redirect_uris: undefined,
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [jwk] },
    });
    const client = { client_id: registration.client_id };
    const auth = oauth.PrivateKeyJwt({ key: privateKey, kid: 'k1' });
    const response = await oauth.clientCredentialsGrantRequest(server, client, auth, {}, insecure);
    const tokens = await oauth.processClientCredentialsResponse(server, client, response);
    expect(tokens.token_type).toBe('bearer');
  });
});

test('the answer of another server is not mistaken for ours (RFC 9207)', async () => {
  const registration = await registerClient(app, { token_endpoint_auth_method: 'none' });
  const party = { client: { client_id: registration.client_id }, auth: oauth.None() };
  const request = await newRequest();
  const callback = await goThrough(addressOf(party, request.parameters));
  const forged = new URL(callback);
  forged.searchParams.set('iss', 'https://other.example');
  expect(() => oauth.validateAuthResponse(server, party.client, forged, request.state)).toThrow(/iss/);
  expect(oauth.validateAuthResponse(server, party.client, callback, request.state).get('iss')).toBe(app.issuer);
});

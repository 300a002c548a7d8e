/** FAPI 2.0 by one switch, `fapi_profile`, with an independent client (`openid-client`): what it takes, gives and refuses. */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { post } from '../security/protocol.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import {
  assertionClaims,
  assertionType,
  type ClientKeys,
  createClientKeys,
  epoch,
  signWith,
} from '../support/client-keys.ts';
import { createProofKey } from '../support/dpop.ts';
import { createPerson, fromElsewhere, type Person } from '../support/person.ts';
import { allow, type Registration, registerAccount, registerClient, signIn } from '../support/relying-party.ts';
import { createCertificate } from '../support/x509.ts';

const certificateHeader = 'x-client-certificate';
const behindProxy = { TRUST_PROXY: 'loopback', MTLS_CERT_HEADER: certificateHeader };

let app: TestApp;
let account: Awaited<ReturnType<typeof registerAccount>>;
let keys: ClientKeys;
let redirectUri: string;

beforeAll(async () => {
  app = await startApp({ env: behindProxy });
  account = await registerAccount(app);
  keys = await createClientKeys();
  redirectUri = `${app.origin}/callback`;
});
afterAll(() => app.close());

function register(metadata: Record<string, unknown> = {}): Promise<Registration & Record<string, unknown>> {
  const asked = { fapi_profile: '2.0_security', jwks: { keys: [keys.jwk] }, ...metadata };
  return registerClient(app, asked, fromElsewhere()) as Promise<Registration & Record<string, unknown>>;
}

/** The client, configured by discovery alone. */
async function discover(registration: Registration & Record<string, unknown>, auth?: client.ClientAuth) {
  const key = { key: keys.privateKey, kid: keys.kid };
  const how = auth ?? client.PrivateKeyJwt(key);
  const metadata = {
    id_token_signed_response_alg: 'ES256',
    authorization_signed_response_alg: 'ES256',
    use_mtls_endpoint_aliases: true,
  };
  const execute = [client.allowInsecureRequests, client.enableNonRepudiationChecks];
  return client.discovery(new URL(app.issuer), registration.client_id, metadata, how, { execute });
}

async function newRequest(extra: Record<string, string> = {}) {
  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  const parameters = {
    redirect_uri: redirectUri,
    scope: 'openid email offline_access',
    prompt: 'consent',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...extra,
  };
  return { parameters, checks: { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce } };
}

async function goThrough(url: URL, person: Person = createPerson(app.origin)): Promise<URL> {
  let page = await person.open(url.href);
  if (page.html.includes('id="login"')) page = await signIn(person, page, account);
  if (page.html.includes('id="consent"')) page = await allow(person, page);
  if (!page.left) throw new Error(`ended on a page (${page.status}): ${page.html.slice(0, 1000)}`);
  return page.left;
}

describe('a client of the Security Profile', () => {
  test('goes all the way with PAR, private_key_jwt and DPoP', async () => {
    const config = await discover(await register());
    const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair());
    const { parameters, checks } = await newRequest();
    const url = await client.buildAuthorizationUrlWithPAR(config, parameters, { DPoP });
    expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri']);
    const callback = await goThrough(url);
    expect(callback.searchParams.get('iss')).toBe(app.issuer);
    const tokens = await client.authorizationCodeGrant(config, callback, checks, undefined, { DPoP });
    expect([tokens.token_type, decodeProtectedHeader(tokens.id_token ?? '').alg]).toEqual(['dpop', 'ES256']);
    const claims = await client.fetchUserInfo(config, tokens.access_token, account.sub, { DPoP });
    expect(claims.email).toBe(account.email);
    const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token ?? '', undefined, { DPoP });
    expect(refreshed.refresh_token).toBe(tokens.refresh_token);
    const facts = await client.tokenIntrospection(config, refreshed.access_token);
    expect(facts).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt: await DPoP.calculateThumbprint() } });
    await client.tokenRevocation(config, tokens.refresh_token ?? '');
    expect(await client.tokenIntrospection(config, refreshed.access_token)).toEqual({ active: false });
  });

  test('goes all the way with mutual TLS alone (RFC 8705)', async () => {
    const certificate = createCertificate({ subject: [['CN', 'a bank']] });
    const jwk = {
      ...certificate.publicKey.export({ format: 'jwk' }),
      x5c: [certificate.pem.replace(/-----.*-----|\n/g, '')],
    };
    const registration = await register({
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      tls_client_certificate_bound_access_tokens: true,
      jwks: { keys: [jwk] },
    });
    const config = await discover(registration, client.TlsClientAuth());
    let shown: string | undefined = encodeURIComponent(certificate.pem);
    config[client.customFetch] = (url, { headers, ...options }) =>
      fetch(url, { ...options, headers: { ...headers, ...(shown && { [certificateHeader]: shown }) } } as RequestInit);
    const { parameters, checks } = await newRequest();
    const callback = await goThrough(await client.buildAuthorizationUrlWithPAR(config, parameters));
    const tokens = await client.authorizationCodeGrant(config, callback, checks);
    expect(tokens.token_type).toBe('bearer');
    expect(await client.tokenIntrospection(config, tokens.access_token)).toMatchObject({
      active: true,
      cnf: { 'x5t#S256': expect.stringMatching(/^[\w-]{43}$/) },
    });
    expect((await client.fetchUserInfo(config, tokens.access_token, account.sub)).email).toBe(account.email);
    shown = undefined;
    await expect(client.fetchUserInfo(config, tokens.access_token, account.sub)).rejects.toMatchObject({ status: 401 });
    shown = encodeURIComponent(createCertificate({ subject: [['CN', 'a bank']] }).pem);
    await expect(client.fetchUserInfo(config, tokens.access_token, account.sub)).rejects.toMatchObject({ status: 401 });
    await expect(client.refreshTokenGrant(config, tokens.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_client',
    });
  });

  test('may refresh in parallel: its refresh token stays the same', async () => {
    const config = await discover(await register());
    const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair());
    const { parameters, checks } = await newRequest();
    const callback = await goThrough(await client.buildAuthorizationUrlWithPAR(config, parameters, { DPoP }));
    const { refresh_token = '' } = await client.authorizationCodeGrant(config, callback, checks, undefined, { DPoP });
    const again = () => client.refreshTokenGrant(config, refresh_token, undefined, { DPoP });
    const refreshed = await Promise.all(Array.from({ length: 8 }, again));
    expect(new Set(refreshed.map((tokens) => tokens.refresh_token))).toEqual(new Set([refresh_token]));
  });
});

describe('a client of Message Signing', () => {
  test('goes all the way with JAR, JARM and signed introspection', async () => {
    const registration = await register({ fapi_profile: '2.0_message_signing' });
    const config = await discover(registration);
    client.useJwtResponseMode(config);
    const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair());
    const { parameters, checks } = await newRequest();
    const signed = await client.buildAuthorizationUrlWithJAR(
      config,
      parameters,
      { key: keys.privateKey, kid: keys.kid },
      {
        [client.modifyAssertion]: (_header, payload) => {
          payload.exp = epoch() + 60;
        },
      },
    );
    const url = await client.buildAuthorizationUrlWithPAR(config, signed.searchParams, { DPoP });
    const callback = await goThrough(url);
    expect([...callback.searchParams.keys()]).toEqual(['response']);
    const response = callback.searchParams.get('response') ?? '';
    expect(decodeProtectedHeader(response)).toMatchObject({ alg: 'ES256', kid: expect.any(String) });
    expect(decodeJwt(response)).toMatchObject({
      iss: app.issuer,
      aud: registration.client_id,
      exp: expect.any(Number),
    });
    const tokens = await client.authorizationCodeGrant(config, callback, checks, undefined, { DPoP });

    const assertion = await signWith(keys, assertionClaims(registration.client_id, app.issuer));
    const introspection = await fetch(`${app.issuer}/introspection`, {
      method: 'POST',
      headers: { accept: 'application/token-introspection+jwt' },
      body: new URLSearchParams({
        token: tokens.access_token,
        client_assertion: assertion,
        client_assertion_type: assertionType,
      }),
    });
    expect(introspection.headers.get('content-type')).toMatch(/^application\/token-introspection\+jwt/);
    const answer = await introspection.text();
    expect(decodeProtectedHeader(answer)).toMatchObject({ alg: 'ES256', typ: 'token-introspection+jwt' });
    expect(decodeJwt(answer)).toMatchObject({
      iss: app.issuer,
      aud: registration.client_id,
      iat: expect.any(Number),
      token_introspection: { active: true, client_id: registration.client_id, sub: account.sub },
    });
  });

  test('gets no response but a signed one', async () => {
    const registration = await register({ fapi_profile: '2.0_message_signing' });
    const { parameters } = await newRequest();
    const pushMode = async (response_mode: string | undefined) => {
      const claims = {
        ...{ response_type: 'code', client_id: registration.client_id, ...parameters, response_mode },
        ...{ iss: registration.client_id, aud: app.issuer, nbf: epoch(), exp: epoch() + 60 },
      };
      const client_assertion = await signWith(keys, assertionClaims(registration.client_id, app.issuer));
      const asked = { request: await signWith(keys, claims), client_assertion, client_assertion_type: assertionType };
      return (await post(app, 'request', asked)).body;
    };
    for (const mode of [undefined, 'query', 'fragment', 'form_post']) {
      expect(await pushMode(mode)).toMatchObject({ error: 'invalid_request' });
    }
    for (const mode of ['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt']) {
      expect(await pushMode(mode)).toHaveProperty('request_uri');
    }
  });
});

describe('the switch at registration', () => {
  test('turns on everything that the profile demands, whatever was asked', async () => {
    const registration = await register({
      require_pushed_authorization_requests: false,
      require_pkce: false,
      dpop_bound_access_tokens: false,
    });
    expect(registration).toMatchObject({
      fapi_profile: '2.0_security',
      token_endpoint_auth_method: 'private_key_jwt',
      require_pushed_authorization_requests: true,
      require_pkce: true,
      dpop_bound_access_tokens: true,
      id_token_signed_response_alg: 'ES256',
      authorization_signed_response_alg: 'ES256',
      introspection_signed_response_alg: 'ES256',
    });
    expect(registration).not.toHaveProperty('client_secret');
  });

  test('leaves the choice of key and algorithm that the profile leaves', async () => {
    const choice = {
      tls_client_certificate_bound_access_tokens: true,
      id_token_signed_response_alg: 'PS256',
      userinfo_signed_response_alg: 'EdDSA',
      token_endpoint_auth_signing_alg: 'PS256',
    };
    expect(await register(choice)).toMatchObject({ ...choice, dpop_bound_access_tokens: false });
  });

  test('asks Message Signing clients for signed requests and signed responses', async () => {
    expect(await register({ fapi_profile: '2.0_message_signing' })).toMatchObject({
      require_signed_request_object: true,
      response_modes: ['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'],
    });
  });

  const contradictions: [string, Record<string, unknown>, RegExp][] = [
    ['another profile', { fapi_profile: '1.0' }, /fapi_profile must be 2\.0_security or 2\.0_message_signing/],
    [
      'a secret',
      { token_endpoint_auth_method: 'client_secret_basic' },
      /token_endpoint_auth_method must be private_key_jwt/,
    ],
    ['no authentication', { token_endpoint_auth_method: 'none' }, /token_endpoint_auth_method must be private_key_jwt/],
    ['RS256 for assertions', { token_endpoint_auth_signing_alg: 'RS256' }, /must be PS256, ES256, EdDSA or Ed25519/],
    ['RS256 for request objects', { request_object_signing_alg: 'RS256' }, /request_object_signing_alg must be/],
    ['RS256 for ID tokens', { id_token_signed_response_alg: 'RS256' }, /id_token_signed_response_alg must be/],
    ['RS256 for userinfo', { userinfo_signed_response_alg: 'RS256' }, /userinfo_signed_response_alg must be/],
    [
      'RS256 for responses',
      { authorization_signed_response_alg: 'RS256' },
      /authorization_signed_response_alg must be/,
    ],
    [
      'RS256 for introspection',
      { introspection_signed_response_alg: 'RS256' },
      /introspection_signed_response_alg must/,
    ],
    ['another grant', { grant_types: ['urn:ietf:params:oauth:grant-type:device_code'] }, /grant_types must be/],
    ['no keys', { jwks: undefined }, /jwks/],
    [
      'unsigned responses',
      { fapi_profile: '2.0_message_signing', response_modes: ['jwt', 'query'] },
      /response_modes must be jwt/,
    ],
    [
      'nothing to verify requests with',
      {
        fapi_profile: '2.0_message_signing',
        token_endpoint_auth_method: 'self_signed_tls_client_auth',
        jwks: undefined,
      },
      /jwks or jwks_uri is needed/,
    ],
  ];
  test.each(contradictions)('refuses %s, and says what would do', async (_what, metadata, sentence) => {
    const response = await fetch(`${app.origin}/clients`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...fromElsewhere() },
      body: JSON.stringify({
        fapi_profile: '2.0_security',
        redirect_uris: [redirectUri],
        jwks: { keys: [keys.jwk] },
        ...metadata,
      }),
    });
    const body = (await response.json()) as Record<string, string>;
    expect([response.status, body.error]).toEqual([400, 'invalid_client_metadata']);
    expect(body.error_description).toMatch(sentence);
  });

  test('refuses plain http, loopback apart', async () => {
    const response = await fetch(`${app.origin}/clients`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...fromElsewhere() },
      body: JSON.stringify({
        fapi_profile: '2.0_security',
        redirect_uris: ['http://bank.example/'],
        jwks: { keys: [keys.jwk] },
      }),
    });
    expect([response.status, await response.json()]).toMatchObject([400, { error: 'invalid_redirect_uri' }]);
  });
});

describe('FAPI clients at the endpoints', () => {
  async function clientCredentials(
    assertion: Record<string, unknown>,
    headers: Record<string, string> = {},
    fapi = true,
  ) {
    const { client_id } = await register({
      ...(!fapi && { fapi_profile: undefined, token_endpoint_auth_method: 'private_key_jwt' }),
      redirect_uris: undefined,
      grant_types: ['client_credentials'],
    });
    const client_assertion = await signWith(keys, { ...assertionClaims(client_id, app.issuer), ...assertion });
    const asked = { grant_type: 'client_credentials', client_assertion, client_assertion_type: assertionType };
    return post(app, 'token', asked, undefined, headers);
  }

  test('assertions and proofs may come ten seconds early, not 61 (§5.3.2.1)', async () => {
    const proofKey = await createProofKey();
    const prove = async (early: number) => ({
      dpop: await proofKey.prove(`${app.issuer}/token`, { iat: epoch() + early }),
    });
    const early = (seconds: number) => ({ iat: epoch() + seconds, exp: epoch() + 120 });
    expect((await clientCredentials(early(10), await prove(10))).status).toBe(200);
    expect((await clientCredentials(early(70), await prove(0))).body.error).toBe('invalid_client');
    expect((await clientCredentials({}, await prove(70))).body.error).toBe('invalid_dpop_proof');
    // Other clients have the wider limits of the RFCs.
    expect((await clientCredentials(early(70), await prove(70), false)).status).toBe(200);
  });

  test('get no token that anybody could use', async () => {
    expect((await clientCredentials({})).body.error).toBe('invalid_grant');
  });

  test('are refused altogether where what binds their tokens was switched off', async () => {
    const registration = await register({ tls_client_certificate_bound_access_tokens: true });
    const without = await startAppForTest({ database: { url: app.databaseUrl } });
    const client_assertion = await signWith(keys, assertionClaims(registration.client_id, without.issuer));
    const asked = { client_assertion, client_assertion_type: assertionType, response_type: 'code' };
    const { status, body } = await post(without, 'request', asked);
    expect([status, body.error]).toEqual([400, 'invalid_client_metadata']);
  });

  test('nor does a client without the switch lose its certificate in silence', async () => {
    const registration = await register({
      fapi_profile: undefined,
      token_endpoint_auth_method: 'private_key_jwt',
      tls_client_certificate_bound_access_tokens: true,
    });
    const without = await startAppForTest({ database: { url: app.databaseUrl } });
    const client_assertion = await signWith(keys, assertionClaims(registration.client_id, without.issuer));
    const { status, body } = await post(without, 'request', { client_assertion, client_assertion_type: assertionType });
    expect([status, body.error]).toEqual([400, 'invalid_client_metadata']);
  });
});

/** Signed requests by value (RFC 9101, JAR) and signed answers: JARM, userinfo, introspection (RFC 9701). */
import {
  createLocalJWKSet,
  decodeProtectedHeader,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
  UnsecuredJWT,
} from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readSelfSubmittingForm } from '../conformance/form-post.ts';
import {
  authorizationUrl,
  basic,
  issueTokens,
  type Parameters,
  pkce,
  post,
  redeem,
  type SignedIn,
  signedInPerson,
} from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type ClientKeys, createClientKeys, epoch, signWith } from '../support/client-keys.ts';
import { createPerson, readText } from '../support/person.ts';
import { allow, type Registration, registerClient, signIn } from '../support/relying-party.ts';

let app: TestApp;
let keys: ClientKeys;
let client: Registration;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  keys = await createClientKeys();
  client = await registerClient(app, { jwks: { keys: [keys.jwk] } });
  signedIn = await signedInPerson(app);
  await issueTokens(app, client, signedIn, { scope: 'openid profile email' });
});
afterAll(() => app.close());

/** What an authorization request says, as claims; `changes` replace or, undefined, leave out. */
function requestClaims({ client_id }: Registration, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    iss: client_id,
    aud: app.issuer,
    client_id,
    response_type: 'code',
    redirect_uri: `${app.origin}/callback`,
    scope: 'openid',
    state: 'signed-state',
    code_challenge: pkce().challenge,
    code_challenge_method: 'S256',
    ...changes,
  };
}

/** Where the signed-in person is sent for a request object, with nothing but what OIDC Core §6.1 asks for outside. */
async function ask(request: string, by = client, outside: Parameters = {}): Promise<URL> {
  const query = { client_id: by.client_id, scope: 'openid', response_type: 'code', request, ...outside };
  const url = `${app.issuer}/auth?${new URLSearchParams(query as Record<string, string>)}`;
  const response = await signedIn.person.request(url);
  const location = response.headers.get('location');
  if (!location) throw new Error(`no redirect (${response.status}): ${readText(await response.text()).slice(0, 500)}`);
  return new URL(location, app.origin);
}

async function verified(jwt: string, alg: string, audience = client.client_id): Promise<JWTPayload> {
  const jwks = (await (await fetch(`${app.issuer}/jwks`)).json()) as JSONWebKeySet;
  const { payload } = await jwtVerify(jwt, createLocalJWKSet(jwks), {
    algorithms: [alg],
    issuer: app.issuer,
    audience,
  });
  return payload;
}

describe('a request object by value', () => {
  test.each(['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'])(
    'signed with %s is followed to a code that works',
    async (alg) => {
      const own = await createClientKeys(alg);
      const by = await registerClient(app, { jwks: { keys: [own.jwk] } });
      await issueTokens(app, by, signedIn, {});
      const { verifier, challenge } = pkce();
      const callback = await ask(await signWith(own, requestClaims(by, { code_challenge: challenge })), by);
      const code = callback.searchParams.get('code') ?? '';
      const issued = { code, verifier, redirectUri: `${app.origin}/callback`, callback };
      expect((await redeem(app, by, issued)).body).toHaveProperty('id_token');
    },
  );

  test('is all that counts: what stands beside it does not', async () => {
    const outside = {
      state: 'outside',
      scope: 'openid phone',
      redirect_uri: 'https://evil.example/',
      nonce: 'outside',
    };
    const callback = await ask(await signWith(keys, requestClaims(client)), client, outside);
    expect(callback.href.startsWith(`${app.origin}/callback`)).toBe(true);
    expect(callback.searchParams.get('state')).toBe('signed-state');
  });

  const refusals: [string, () => Promise<string> | string][] = [
    ['unsigned', () => new UnsecuredJWT(requestClaims(client)).encode()],
    [
      'with another client’s key',
      async () => signWith(await createClientKeys(), requestClaims(client), { kid: keys.kid }),
    ],
    ['of another issuer', () => signWith(keys, requestClaims(client, { iss: 'somebody' }))],
    ['for another audience', () => signWith(keys, requestClaims(client, { aud: 'https://other.example/' }))],
    ['for nobody', () => signWith(keys, requestClaims(client, { aud: undefined }))],
    ['expired', () => signWith(keys, requestClaims(client, { exp: epoch() - 60 }))],
    ['for later', () => signWith(keys, requestClaims(client, { nbf: epoch() + 60 }))],
    ['for another client', () => signWith(keys, requestClaims(client, { client_id: 'other' }))],
    ['with a request inside', () => signWith(keys, requestClaims(client, { request: 'eyJ.e30.' }))],
    ['with an address inside', () => signWith(keys, requestClaims(client, { request_uri: 'https://evil.example/' }))],
    ['that is none', () => 'not.a.jwt'],
  ];
  test.each(refusals)('%s is refused', async (_what, make) => {
    const outside = { redirect_uri: `${app.origin}/callback`, state: 'outside' };
    const answer = (await ask(await make(), client, outside)).searchParams;
    expect([answer.get('error'), answer.has('code'), answer.get('iss')]).toEqual([
      ...['invalid_request_object', false, app.issuer],
    ]);
  });

  test('is demanded of a client that says so, by address and by push', async () => {
    const by = await registerClient(app, { require_signed_request_object: true, jwks: { keys: [keys.jwk] } });
    const response = await signedIn.person.request(authorizationUrl(app, by));
    expect(new URL(response.headers.get('location') ?? '').searchParams.get('error')).toBe('invalid_request');
    const { iss, aud, ...parameters } = requestClaims(by) as Record<string, string>;
    expect((await post(app, 'request', parameters, by)).body.error).toBe('invalid_request');
    const request = await signWith(keys, requestClaims(by));
    expect((await post(app, 'request', { request }, by)).status).toBe(201);
  });

  test('is of the algorithm that the client registered', async () => {
    const metadata = { request_object_signing_alg: 'PS256', jwks: { keys: [keys.jwk] } };
    const by = await registerClient(app, metadata);
    const outside = { redirect_uri: `${app.origin}/callback` };
    const answer = await ask(await signWith(keys, requestClaims(by)), by, outside);
    expect(answer.searchParams.get('error')).toBe('invalid_request_object');
  });

  test('by reference is not supported, and nothing is fetched (RFC 9101 §10.4.1)', async () => {
    const url = authorizationUrl(app, client, { request_uri: 'https://client.example/request.jwt' });
    const answer = new URL((await signedIn.person.request(url)).headers.get('location') ?? '').searchParams;
    expect(answer.get('error')).toBe('request_uri_not_supported');
  });
});

describe('a signed response (JARM)', () => {
  const modes = ['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'];

  /** The one parameter of the answer, wherever the mode puts it. */
  async function responseOf(response_mode: string, changes: Parameters = {}, by = client): Promise<string> {
    const page = await signedIn.person.open(authorizationUrl(app, by, { response_mode, ...changes }));
    const form = page.left ? undefined : readSelfSubmittingForm(page);
    const fragment = page.left?.hash ? new URLSearchParams(page.left.hash.slice(1)) : page.left?.searchParams;
    const parameters = form ? form.fields : [...(fragment ?? [])];
    expect(parameters.map(([name]) => name)).toEqual(['response']);
    return parameters[0]?.[1] ?? '';
  }

  test.each(modes)('%s carries code, state and issuer in one JWT, short-lived', async (mode) => {
    const { exp = 0, ...claims } = await verified(await responseOf(mode), 'RS256');
    const aud = client.client_id;
    expect(claims).toEqual({ iss: app.issuer, aud, code: expect.any(String), state: 'state-of-the-client' });
    expect(exp - epoch()).toBeGreaterThan(0);
    expect(exp - epoch()).toBeLessThanOrEqual(600);
  });

  test.each(modes)('%s carries an error in the same way', async (mode) => {
    const claims = await verified(await responseOf(mode, { scope: 'openid', prompt: 'none login' }), 'RS256');
    expect(claims).toMatchObject({ error: 'invalid_request', state: 'state-of-the-client' });
    expect(claims).not.toHaveProperty('code');
  });

  test.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('is signed with %s when the client registered that', async (alg) => {
    const by = await registerClient(app, { authorization_signed_response_alg: alg });
    await issueTokens(app, by, signedIn, {});
    await verified(await responseOf('jwt', {}, by), alg, by.client_id);
  });

  test('comes after the pages too', async () => {
    const { person, account } = { person: createPerson(app.origin), account: signedIn.account };
    const url = authorizationUrl(app, client, { response_mode: 'form_post.jwt', prompt: 'consent' });
    const page = await allow(person, await signIn(person, await person.open(url), account));
    const [[name, response] = ['', '']] = readSelfSubmittingForm(page)?.fields ?? [];
    expect([name, await verified(response, 'RS256')]).toMatchObject(['response', { code: expect.any(String) }]);
  });

  test('to an application nobody vouches for is held like any error, signed as it is (SECURITY 5)', async () => {
    const page = await createPerson(app.origin).open(
      authorizationUrl(app, client, { response_mode: 'fragment.jwt', code_challenge_method: 'plain' }),
    );
    expect([page.status, page.left]).toEqual([400, undefined]);
    expect(readText(page.html)).toContain('something we can’t use');
    const link = new URL(/href="([^"]*\/callback[^"]*)"/.exec(page.html)?.[1]?.replaceAll('&amp;', '&') ?? '');
    expect(await verified(link.searchParams.get('response') ?? '', 'RS256')).toMatchObject({
      error: 'invalid_request',
    });
  });
});

describe('signed answers to the client itself', () => {
  test.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('userinfo, with %s', async (alg) => {
    const by = await registerClient(app, { userinfo_signed_response_alg: alg });
    const { access_token } = await issueTokens(app, by, signedIn, { scope: 'openid email' });
    const response = await fetch(`${app.issuer}/userinfo`, { headers: { authorization: `Bearer ${access_token}` } });
    expect(response.headers.get('content-type')).toMatch(/^application\/jwt/);
    const { account } = signedIn;
    const claims = await verified(await response.text(), alg, by.client_id);
    expect(claims).toMatchObject({ sub: account.sub, email: account.email });
  });

  test.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('introspection, with %s, for whoever asks for it so', async (alg) => {
    const by = await registerClient(app, { introspection_signed_response_alg: alg });
    const { access_token } = await issueTokens(app, by, signedIn, {});
    const introspect = (accept: string) =>
      fetch(`${app.issuer}/introspection`, {
        method: 'POST',
        headers: { ...basic(by), accept },
        body: new URLSearchParams({ token: access_token }),
      });
    const signed = await (await introspect('application/token-introspection+jwt')).text();
    expect(decodeProtectedHeader(signed).typ).toBe('token-introspection+jwt');
    const { token_introspection } = await verified(signed, alg, by.client_id);
    expect(token_introspection).toMatchObject({ active: true, client_id: by.client_id });
    expect(await (await introspect('application/json')).json()).toMatchObject({ active: true });
  });
});

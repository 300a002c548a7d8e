/**
 * docs/recipes/spring-boot.md at the level of the protocol: what Spring Security 7 (and 6, without PKCE) sends by its
 * documentation, and what it checks in the answers. There is no Java here.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createRemoteJWKSet, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApi } from '../../src/apis/apis.ts';
import { askForToken, createService } from '../apis/fixture.ts';
import { pkce, post, refresh } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson } from '../support/person.ts';
import { registerAccount, signIn } from '../support/relying-party.ts';
import { type Registered, registerAsPrinted } from './pages.ts';
import { operateAsPrinted } from './printed-code.ts';

const orders = 'https://orders.example.com';
let app: TestApp;
let keys: JWTVerifyGetKey;
let client: Registered;
let site: string;

type Metadata = Record<string, string> & Record<`${string}_supported`, string[]>;
const discover = async () => (await (await fetch(`${app.issuer}/.well-known/openid-configuration`)).json()) as Metadata;

beforeAll(async () => {
  app = await startApp();
  keys = createRemoteJWKSet(new URL(`${app.issuer}/jwks`));
  site = 'http://localhost:8080';
  await operateAsPrinted('spring-boot.md', app.env);
  client = await registerAsPrinted('spring-boot.md', app.env);
});
afterAll(() => app.close());

describe('the application', () => {
  test('finds in discovery what it needs, under the issuer that it was told', async () => {
    const metadata = await discover();
    expect(metadata.issuer).toBe(app.issuer);
    for (const name of ['authorization', 'token', 'userinfo', 'end_session'])
      expect(metadata[`${name}_endpoint`]).toContain(app.issuer);
    expect(metadata.jwks_uri).toContain(app.issuer);
    expect(metadata.token_endpoint_auth_methods_supported).toContain('client_secret_basic');
    expect(metadata.id_token_signing_alg_values_supported).toContain('RS256');
    expect(metadata.subject_types_supported).toContain('public');
    expect(metadata.code_challenge_methods_supported).toContain('S256');
  });

  /** A key of Spring's: base64url with its padding. */
  const newKey = () => `${randomBytes(32).toString('base64url')}=`;

  test('signs somebody in, renews the tokens and signs out', async () => {
    const metadata = await discover();
    const [state, nonce, account, person] = [newKey(), newKey(), await registerAccount(app), createPerson(app.origin)];
    const { verifier, challenge } = pkce();
    const redirect_uri = client.redirect_uris[0] ?? '';
    expect(redirect_uri).toBe(`${site}/login/oauth2/code/latchkey`);
    const request = new URLSearchParams({
      ...{ response_type: 'code', client_id: client.client_id, scope: 'openid profile email', state, redirect_uri },
      nonce: createHash('sha256').update(nonce).digest('base64url'),
      ...{ code_challenge: challenge, code_challenge_method: 'S256' },
    });
    const page = await signIn(person, await person.open(`${metadata.authorization_endpoint}?${request}`), account);
    const callback = page.left?.searchParams;
    expect(callback?.get('state')).toBe(state);

    const code = callback?.get('code') ?? '';
    const grant = { grant_type: 'authorization_code', code, redirect_uri, code_verifier: verifier };
    const { status, body } = await post(app, 'token', grant, client);
    expect([status, body]).toMatchObject([200, { token_type: 'Bearer', refresh_token: expect.any(String) }]);
    const rules = { issuer: app.issuer, audience: client.client_id, algorithms: ['RS256'] };
    const { payload } = await jwtVerify(String(body.id_token), keys, rules);
    expect(payload).toMatchObject({ sub: account.sub, nonce: request.get('nonce'), iat: expect.any(Number) });

    const headers = { authorization: `Bearer ${body.access_token}`, accept: 'application/json' };
    const userinfo = await fetch(metadata.userinfo_endpoint ?? '', { headers });
    expect(userinfo.headers.get('content-type')).toContain('application/json');
    expect(await userinfo.json()).toMatchObject({ sub: account.sub, name: account.name, email: account.email });
    expect((await refresh(app, client, String(body.refresh_token))).status).toBe(200);

    const out = new URLSearchParams({ id_token_hint: String(body.id_token), post_logout_redirect_uri: site });
    const asked = await person.open(`${metadata.end_session_endpoint}?${out}`);
    const back = await person.submit(asked, 'logout', {}, 'logout-confirm');
    expect(back.left?.origin).toBe(site);
  });

  test('must bring PKCE, as the page registers it', async () => {
    const request = new URLSearchParams({
      ...{ response_type: 'code', client_id: client.client_id, scope: 'openid', state: newKey(), nonce: newKey() },
      redirect_uri: `${site}/login/oauth2/code/latchkey`,
    });
    const { left } = await createPerson(app.origin).open(`${app.issuer}/auth?${request}`);
    expect(left?.searchParams.get('error_description')).toContain('policy requires PKCE to be used');
  });
});

describe('the API', () => {
  const rules = { audience: orders, typ: 'at+jwt', algorithms: ['ES256'] };
  const tokenOf = async () => {
    const service = await createService(app, { [orders]: ['orders:read'] });
    const { status, body } = await askForToken(app, service, { scope: 'orders:read' });
    expect(status).toBe(200);
    return String(body.access_token);
  };

  test('is sent, by a service that names no resource, what RFC 9068 and Spring’s validator of it want', async () => {
    const { payload } = await jwtVerify(await tokenOf(), keys, { ...rules, issuer: app.issuer });
    const some = expect.any(String);
    expect(payload).toMatchObject({ scope: 'orders:read', sub: some, jti: some, client_id: some });
  });

  test('would refuse it by Spring’s default rule for typ', async () => {
    await expect(jwtVerify(await tokenOf(), keys, { ...rules, typ: 'JWT' })).rejects.toThrow('typ');
  });

  test('finds its algorithm among the published keys, as it does when told the issuer', async () => {
    const { keys: published } = (await (await fetch(`${app.issuer}/jwks`)).json()) as {
      keys: Record<string, string>[];
    };
    // A key without `alg` stands for all that its type can do; RSA and EC are the types that are looked at.
    const algOf = (type: string) => published.filter(({ kty }) => kty === type).map(({ alg, use }) => [use, alg]);
    expect(algOf('EC')).toContainEqual(['sig', 'ES256']);
    expect(algOf('RSA')).toContainEqual(['sig', undefined]);
  });

  test('that was registered with RS256 needs no jws-algorithms', async () => {
    const billing = 'https://billing.example.com';
    const scopes = { 'billing:read': 'See your bills' };
    await createApi(app.database.db, { identifier: billing, name: 'Billing', scopes, signingAlg: 'RS256' });
    const service = await createService(app, { [billing]: ['billing:read'] });
    const token = async () => (await askForToken(app, service, { resource: billing })).body.access_token;
    await expect.poll(token).toEqual(expect.any(String));
    const rs256 = { ...rules, audience: billing, algorithms: ['RS256'] };
    expect((await jwtVerify(String(await token()), keys, rs256)).payload.aud).toBe(billing);
  });
});

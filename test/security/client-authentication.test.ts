/** How clients prove who they are (SECURITY 42; RFC 6749 §2.3, RFC 7523 §3), and that no proof serves twice or elsewhere. */
import { createServer, type Server } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import {
  assertionClaims,
  assertionType,
  type ClientKeys,
  createClientKeys,
  epoch,
  signWith,
} from '../support/client-keys.ts';
import { endServer, listen } from '../support/listen.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import { advance, basic, type Parameters, post } from './protocol.ts';

let app: TestApp;
let twin: TestApp;
let keys: ClientKeys;
let signer: Registration;
let withSecret: Registration;
/** Where a client publishes its keys. */
let site: Server;
let siteUrl: string;
let published: { keys: unknown[]; status: number; cacheControl?: string };
let asked = 0;

beforeAll(async () => {
  site = createServer((_req, res) => {
    asked += 1;
    res.writeHead(published.status, {
      'content-type': 'application/json',
      ...(published.cacheControl && { 'cache-control': published.cacheControl }),
    });
    res.end(JSON.stringify({ keys: published.keys }));
  });
  siteUrl = `http://127.0.0.1:${await listen(site)}`;
  app = await startApp({ env: { OUTBOUND_ALLOW: '127.0.0.1' } });
  twin = await startApp({ database: { url: app.databaseUrl }, env: { OIDC_ISSUER: app.origin } });
  keys = await createClientKeys();
  signer = await registerService({ token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [keys.jwk] } });
  withSecret = await registerService();
});
afterAll(async () => {
  await twin.close();
  await app.close();
  await endServer(site);
});
afterEach(() => {
  vi.useRealTimers();
});

function registerService(metadata: Record<string, unknown> = {}): Promise<Registration> {
  return registerClient(app, { redirect_uris: undefined, grant_types: ['client_credentials'], ...metadata });
}

function ask(parameters: Parameters, headers: Record<string, string> = {}, server = app) {
  const address = { issuer: `http://127.0.0.1:${server.port}/oidc` };
  return post(address, 'token', { grant_type: 'client_credentials', ...parameters }, undefined, headers);
}

function askWith(client_assertion: string, parameters: Parameters = {}, server = app) {
  return ask({ client_assertion, client_assertion_type: assertionType, ...parameters }, {}, server);
}

function assertion(changes: Record<string, unknown> = {}, by = keys, header: Record<string, unknown> = {}) {
  return signWith(by, { ...assertionClaims(signer.client_id, app.issuer), ...changes }, header);
}

describe('a client assertion', () => {
  const audiences: [string, () => unknown][] = [
    ['the issuer', () => app.issuer],
    ['the token endpoint', () => `${app.issuer}/token`],
    ['a list with the issuer', () => ['https://other.example/', app.issuer]],
  ];
  test.each(audiences)('may be for %s', async (_who, aud) => {
    expect((await askWith(await assertion({ aud: aud() }))).status).toBe(200);
  });

  const wrong: [string, () => Record<string, unknown>][] = [
    ['for another audience', () => ({ aud: 'https://other.example/' })],
    ['for an address that only begins like ours', () => ({ aud: `${app.issuer}.evil.example` })],
    ['for nobody', () => ({ aud: undefined })],
    ['by another issuer', () => ({ iss: 'somebody' })],
    ['by nobody', () => ({ iss: undefined })],
    ['about another client', () => ({ sub: withSecret.client_id })],
    ['about nobody', () => ({ sub: undefined })],
    ['without an end', () => ({ exp: undefined })],
    ['that ended', () => ({ exp: epoch() - 60 })],
    ['that begins later', () => ({ nbf: epoch() + 60 })],
    ['that ends in a day, since spent ids are kept as long', () => ({ exp: epoch() + 86_400 })],
    ['without an id', () => ({ jti: undefined })],
    ['with an id that is no text', () => ({ jti: 42 })],
  ];
  test.each(wrong)('%s is refused', async (_what, changes) => {
    const { status, body } = await askWith(await assertion(changes()));
    expect([status, body.error]).toEqual([401, 'invalid_client']);
  });

  test('is good once: of eight parallel uses at two instances one succeeds', async () => {
    const once = await assertion();
    const use = (_: unknown, turn: number) => askWith(once, {}, turn % 2 ? twin : app);
    const answers = await Promise.all(Array.from({ length: 8 }, use));
    const errors = answers.filter(({ status }) => status !== 200).map(({ body }) => body.error);
    expect(errors).toEqual(Array(7).fill('invalid_client'));
    expect((await askWith(once, {}, twin)).body.error).toBe('invalid_client');
  });

  test('cannot be used again once it was used anywhere, introspection and revocation included', async () => {
    const once = await assertion();
    const parameters = { token: 'x', client_assertion: once, client_assertion_type: assertionType };
    expect((await post(app, 'introspection', parameters)).status).toBe(200);
    expect((await post(app, 'revocation', parameters)).body.error).toBe('invalid_client');
    expect((await askWith(once)).body.error).toBe('invalid_client');
  });

  test('is of the one algorithm that the client registered', async () => {
    const ps = await createClientKeys('PS256');
    const registered = await registerService({
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'PS256',
      jwks: { keys: [keys.jwk, ps.jwk] },
    });
    const claims = () => assertionClaims(registered.client_id, app.issuer);
    expect((await askWith(await signWith(keys, claims()))).body.error).toBe('invalid_client');
    expect((await askWith(await signWith(ps, claims()))).status).toBe(200);
  });

  test('must come with its type, and with the name of its own client or none', async () => {
    const untyped = { client_assertion: await assertion() };
    expect((await ask(untyped)).body.error).toBe('invalid_request');
    const saml = { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' };
    expect((await ask({ ...untyped, ...saml })).body.error).toBe('invalid_request');
    expect((await askWith(await assertion(), { client_id: withSecret.client_id })).body.error).toBe('invalid_request');
    expect((await askWith(await assertion(), { client_id: signer.client_id })).status).toBe(200);
  });
});

describe('a client authenticates in the way it registered, and in one way', () => {
  test('an assertion does not do for a secret, nor a secret for an assertion, nor nothing for either', async () => {
    const foreign = await signWith(keys, assertionClaims(withSecret.client_id, app.issuer));
    expect((await askWith(foreign)).body.error).toBe('invalid_client');
    const { client_id } = signer;
    expect((await ask({ client_id, client_secret: 'secret' })).body.error).toBe('invalid_client');
    expect((await ask({}, basic({ client_id, client_secret: 'secret' }))).body.error).toBe('invalid_client');
    for (const { client_id } of [signer, withSecret]) {
      expect((await ask({ client_id })).body.error).toBe('invalid_client');
    }
  });

  test('two ways at once are refused', async () => {
    const { client_id, client_secret = '' } = withSecret;
    expect((await ask({ client_secret, client_id }, basic(withSecret))).body.error).toBe('invalid_request');
    expect((await askWith(await assertion(), { client_id, client_secret })).body.error).toBe('invalid_request');
  });

  test('a wrong secret and an unknown client look alike but for nothing', async () => {
    const wrong = await ask({}, basic({ ...withSecret, client_secret: 'wrong' }));
    const unknown = await ask({}, basic({ client_id: 'c_unknown', client_secret: 'wrong' }));
    expect([wrong.status, wrong.body]).toEqual([unknown.status, unknown.body]);
    expect(wrong.headers.get('www-authenticate')).toMatch(/^Basic /);
  });

  test('methods that are off are neither listed nor registered', async () => {
    const discovery = await fetch(`${app.issuer}/.well-known/openid-configuration`);
    const metadata = (await discovery.json()) as Record<string, unknown>;
    expect(metadata.token_endpoint_auth_methods_supported).toEqual([
      ...['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    ]);
    expect(metadata).not.toHaveProperty('tls_client_certificate_bound_access_tokens');
    for (const method of ['client_secret_jwt', 'tls_client_auth', 'self_signed_tls_client_auth']) {
      const response = await fetch(`${app.origin}/clients`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ token_endpoint_auth_method: method, grant_types: ['client_credentials'] }),
      });
      expect([response.status, await response.json()]).toMatchObject([400, { error: 'invalid_client_metadata' }]);
    }
  });
});

describe('keys at a jwks_uri', () => {
  async function publish(...list: ClientKeys[]): Promise<Registration> {
    published = { keys: list.map(({ jwk }) => jwk), status: 200 };
    return registerService({
      token_endpoint_auth_method: 'private_key_jwt',
      jwks_uri: `${siteUrl}/jwks`,
    });
  }
  const askAs = async (client: Registration, by: ClientKeys) =>
    (await askWith(await signWith(by, assertionClaims(client.client_id, app.issuer)))).status;

  // Ten minutes begin anew on the clock: while a test counts, it stands still.
  beforeEach(() => advance(0));

  test('are fetched once and kept', async () => {
    const client = await publish(keys);
    // With the first token a client is no longer an unused one, which the library takes for another client.
    expect([await askAs(client, keys), await askAs(client, keys)]).toEqual([200, 200]);
    const before = asked;
    for (let turn = 0; turn < 5; turn += 1) expect(await askAs(client, keys)).toBe(200);
    expect(asked - before).toBe(0);
  });

  test('are fetched again for a key that is not among them, once a minute at most', async () => {
    const client = await publish(keys);
    expect([await askAs(client, keys), await askAs(client, keys)]).toEqual([200, 200]);
    const before = asked;
    const fresh = await createClientKeys();
    for (let turn = 0; turn < 5; turn += 1) expect(await askAs(client, fresh)).toBe(401);
    expect(asked - before).toBe(0);
    published.keys.push(fresh.jwk);
    advance(61);
    expect(await askAs(client, fresh)).toBe(200);
    expect(await askAs(client, keys)).toBe(200);
    expect(asked - before).toBe(1);
  });

  test('stop working within ten minutes of leaving it, however long they may be cached', async () => {
    const client = await publish(keys);
    published.cacheControl = 'max-age=31536000';
    expect(await askAs(client, keys)).toBe(200);
    const fresh = await createClientKeys();
    published = { keys: [fresh.jwk], status: 200 };
    advance(601);
    expect(await askAs(client, keys)).toBe(401);
    expect(await askAs(client, fresh)).toBe(200);
  });

  test('that cannot be had are the client’s fault, and cost little', async () => {
    const client = await publish(keys);
    published.status = 500;
    expect(await askAs(client, keys)).toBe(401);
    const before = asked;
    expect(await askAs(client, keys)).toBe(401);
    expect(asked - before).toBeLessThanOrEqual(1);
  });

  test('on a private address are not fetched (SECURITY 38)', async () => {
    const client = await publish(keys);
    const before = asked;
    const token = await signWith(keys, assertionClaims(client.client_id, app.issuer));
    // The twin is not permitted what the other instance is.
    expect((await askWith(token, {}, twin)).body.error).toBe('invalid_client');
    expect(asked - before).toBe(0);
  });
});

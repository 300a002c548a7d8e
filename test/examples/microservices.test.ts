/** examples/microservices: two services and a caller, with good tokens and bad ones, keys that rotate and access that ends. */
import { createHmac } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, importJWK, type JWTPayload, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { billingApi, ordersApi } from '../../examples/microservices/apis.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { generateKey } from '../../src/keys/key-pairs.ts';
import { loadSigningKeys } from '../../src/keys/signing-keys.ts';
import { exchange, issueFor } from '../apis/exchange.ts';
import { signedInPerson } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { registerClient } from '../support/relying-party.ts';
import { callService, operate, type Shop, startShop, tokenOf } from './shop.ts';

let app: TestApp;
let shop: Shop;
beforeAll(async () => {
  app = await startApp();
  shop = await startShop(app);
});
afterAll(async () => {
  await shop.close();
  await app.close();
});

/** What came of the shop's four calls. */
async function placeOrder(): Promise<{ status: number; made: { label: string; says: string }[] }> {
  const response = await fetch(`${shop.address.shop}/place-order`, { method: 'POST' });
  return { status: response.status, made: (await response.json()) as { label: string; says: string }[] };
}

test('an order goes through both services: verified here, exchanged there, and asked about where money is at stake', async () => {
  const { status, made } = await placeOrder();
  expect([status, ...made.map(({ label }) => label)]).toEqual([200, '200', '201', '200', '200']);
  expect(JSON.parse(made[1]?.says ?? '')).toEqual({
    ordered: { item: 'tea', quantity: 2 },
    charge: { cents: 500, charged_to: shop.clients.shop.client_id, by: shop.clients.orders.client_id },
  });
});

test('tokens and keys are asked for once, however many calls are made; only what is exchanged is asked for each time', async () => {
  await placeOrder();
  const asked = (path: string) => app.log.filter((line) => line.path === path).length;
  const [tokens, keys, questions] = [asked('/oidc/token'), asked('/oidc/jwks'), asked('/oidc/introspection')];
  await Promise.all([placeOrder(), placeOrder(), placeOrder()]);
  expect([asked('/oidc/token') - tokens, asked('/oidc/jwks') - keys]).toEqual([3, 0]);
  expect(asked('/oidc/introspection') - questions).toBe(6);
});

test('a person presses the button and sees what came of it; another site’s form places no order', async () => {
  const { shop: origin } = shop.address;
  const headers = { accept: 'text/html', 'sec-fetch-site': 'same-origin' };
  const pressed = await fetch(`${origin}/place-order`, { method: 'POST', headers, redirect: 'manual' });
  expect([pressed.status, pressed.headers.get('location')]).toEqual([303, '/']);
  const page = await fetch(origin);
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(await page.text()).toContain('&#34;charged_to&#34;');
  const foreign = { accept: 'text/html', 'sec-fetch-site': 'cross-site' };
  expect((await fetch(`${origin}/place-order`, { method: 'POST', headers: foreign })).status).toBe(403);
});

describe('a token that is not good is 401 and invalid_token, and the answer says why', () => {
  /** Signed as Latchkey signs, so that it is wrong in one place only. */
  async function forge(
    claims: JWTPayload,
    header: Record<string, unknown> = {},
    without: string[] = [],
  ): Promise<string> {
    const encryption = createEncryption([Buffer.from(app.env.OIDC_ENCRYPTION_KEY ?? '', 'base64')]);
    const keys = await loadSigningKeys(app.database.db, encryption, undefined);
    const alg = String(header.alg ?? 'ES256');
    const key = keys.find((one) => (one.alg ?? 'RS256') === alg);
    if (!key) throw new Error(`no key for ${alg}`);
    const said = Object.entries({ ...(await goodClaims()), ...claims }).filter(([name]) => !without.includes(name));
    return new SignJWT(Object.fromEntries(said))
      .setProtectedHeader({ alg, kid: key.kid, typ: 'at+jwt', ...header })
      .sign(await importJWK(key, alg));
  }
  const goodClaims = async () => decodeJwt(await goodToken());
  const goodToken = () => tokenOf(app, shop.clients.shop, ordersApi, 'orders:read orders:place');
  const unsigned = (header: object, claims: object) =>
    [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');

  test('what is forged in no place is taken', async () => {
    expect((await callService(`${shop.address.orders}/prices`, await forge({}))).status).toBe(200);
  });

  test.each<[string, string, () => Promise<string>]>([
    ['expired', 'the token has expired', () => forge({ exp: Math.floor(Date.now() / 1000) - 1 })],
    ['for another API', 'the token is for another API', () => tokenOf(app, shop.clients.shop, billingApi)],
    ['of another issuer', 'the token is from another issuer', () => forge({ iss: 'https://id.example/oidc' })],
    ['an ID token', 'the claim typ of the token is not accepted', () => forge({}, { typ: 'JWT' })],
    ['without an end', 'the claim exp of the token is not accepted', () => forge({}, {}, ['exp'])],
    [
      'bound to a key, and sent without a proof of it',
      'the token is bound to a key and was sent without a proof of it',
      () => forge({ cnf: { jkt: 'a'.repeat(43) } }),
    ],
    [
      'signed with another algorithm of the same issuer',
      'the token is signed with an algorithm that is not accepted',
      () => forge({}, { alg: 'RS256' }),
    ],
    [
      'not signed at all',
      'the token is signed with an algorithm that is not accepted',
      async () => `${unsigned({ alg: 'none', typ: 'at+jwt' }, await goodClaims())}.`,
    ],
    [
      'signed with the public key as a secret',
      'the token is signed with an algorithm that is not accepted',
      async () => {
        const text = unsigned({ alg: 'HS256', typ: 'at+jwt' }, await goodClaims());
        const jwks = await (await fetch(`${app.issuer}/jwks`)).text();
        return `${text}.${createHmac('sha256', jwks).update(text).digest('base64url')}`;
      },
    ],
    [
      'signed with a stranger’s key',
      'the token is signed with a key that is not published',
      async () =>
        new SignJWT(await goodClaims())
          .setProtectedHeader({ alg: 'ES256', kid: 'stranger', typ: 'at+jwt' })
          .sign(await importJWK((await generateKey('ES256')).privateJwk, 'ES256')),
    ],
    [
      'changed after it was signed',
      'the signature of the token is wrong',
      async () => {
        const [header, , signature] = (await goodToken()).split('.');
        const claims = { ...(await goodClaims()), scope: 'orders:place orders:read orders:delete' };
        return `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`;
      },
    ],
    ['no JWT', 'this is not a token that is accepted here', async () => 'opaque'],
  ])('%s', async (_what, why, token) => {
    const { status, challenge, body } = await callService(`${shop.address.orders}/prices`, await token());
    expect({ status, challenge, body }).toEqual({
      status: 401,
      challenge: `Bearer error="invalid_token", error_description="${why}"`,
      body: { error: 'invalid_token', error_description: why },
    });
  });

  test('where Latchkey is asked, it knows none of them', async () => {
    for (const token of [await goodToken(), await forge({ exp: 1 }), 'opaque', shop.clients.shop.client_secret]) {
      const { status, challenge } = await callService(`${shop.address.billing}/balance`, token);
      expect([status, challenge]).toEqual([
        401,
        'Bearer error="invalid_token", error_description="the token is not active"',
      ]);
    }
  });
});

test('without a token the answer is 401 and tells how to bring one; the address is no place for it', async () => {
  const token = await tokenOf(app, shop.clients.shop, ordersApi, 'orders:read');
  for (const path of ['/prices', `/prices?access_token=${token}`]) {
    const { status, challenge } = await callService(shop.address.orders + path);
    expect([status, challenge]).toEqual([401, 'Bearer']);
  }
});

test('a scope that is missing is 403 and insufficient_scope, and the answer names it', async () => {
  const reading = await tokenOf(app, shop.clients.shop, ordersApi, 'orders:read');
  const bare = await tokenOf(app, shop.clients.shop, billingApi);
  const ask = (url: string, token: string) => callService(url, token, { item: 'tea', quantity: 1 });
  expect(await ask(`${shop.address.orders}/orders`, reading)).toMatchObject({
    status: 403,
    challenge:
      'Bearer error="insufficient_scope", error_description="this needs the scope orders:place", scope="orders:place"',
  });
  expect(await ask(`${shop.address.billing}/charges`, bare)).toMatchObject({
    status: 403,
    challenge: expect.stringMatching(/^Bearer error="insufficient_scope".*scope="charges:create"$/),
  });
});

test('orders looks at what the operator says about the client; billing at who acts for whom', async () => {
  const stranger = await registerClient(app, { grant_types: ['client_credentials'], redirect_uris: undefined });
  await operate(app, ['apis', 'allow', stranger.client_id, ordersApi, '--scope', 'orders:place']);
  const credentials = { client_id: stranger.client_id, client_secret: stranger.client_secret ?? '' };
  const allowed = await tokenOf(app, credentials, ordersApi, 'orders:place');
  const order = { item: 'tea', quantity: 1 };
  expect(await callService(`${shop.address.orders}/orders`, allowed, order)).toMatchObject({
    status: 403,
    body: { error: 'access_denied', error_description: 'Only clients of the team storefront place orders.' },
  });
  const own = await tokenOf(app, shop.clients.orders, billingApi, 'charges:create');
  expect(await callService(`${shop.address.billing}/charges`, own, order)).toMatchObject({
    status: 403,
    body: { error: 'access_denied' },
  });
});

test('an order that makes no sense is 400, whoever sends it', async () => {
  const token = await tokenOf(app, shop.clients.shop, ordersApi, 'orders:place');
  for (const body of [{ item: 'gold', quantity: 1 }, { item: 'tea', quantity: 0 }, {}, '{', { item: 'tea', more: 1 }]) {
    const { status, body: answer } = await callService(`${shop.address.orders}/orders`, token, body);
    expect([status, answer.error]).toEqual([400, 'invalid_request']);
  }
  const wish = { resource: billingApi, scope: 'charges:create' };
  const { body: exchanged } = await exchange(app, shop.clients.orders, token, wish);
  const acting = String(exchanged.access_token);
  for (const body of [{ item: 'constructor', quantity: 1 }, { item: 'tea', quantity: 1.5 }, undefined]) {
    const { status, body: answer } = await callService(`${shop.address.billing}/charges`, acting, body ?? '');
    expect([status, answer.error]).toEqual([400, 'invalid_request']);
  }
});

test('a person’s order is charged to the person, and is refused at once when the account is suspended', async () => {
  const client = await registerClient(app, { grant_types: ['authorization_code', 'refresh_token'] });
  await operate(app, [
    'apis',
    'allow',
    client.client_id,
    ordersApi,
    '--scope',
    'orders:place',
    '--scope',
    'orders:read',
  ]);
  await operate(app, ['clients', 'update', client.client_id, '--authorization-metadata', '{"team":"storefront"}']);
  const signedIn = await signedInPerson(app);
  const { access_token: token } = await issueFor(app, client, signedIn, ordersApi, 'orders:place orders:read');
  const order = () => callService(`${shop.address.orders}/orders`, token, { item: 'cake', quantity: 1 });
  expect(await order()).toMatchObject({
    status: 201,
    body: { charge: { cents: 420, charged_to: signedIn.account.sub, by: shop.clients.orders.client_id } },
  });
  await operate(app, ['accounts', 'suspend', signedIn.account.email]);
  expect(await order()).toMatchObject({ status: 401, body: { error: 'invalid_token' } });
  // Verified without asking, the token is good until it expires.
  expect((await callService(`${shop.address.orders}/prices`, token)).status).toBe(200);
});

test('access that is taken back ends at once where Latchkey is asked, and with the token where it is not', async () => {
  const { shop: client } = shop.clients;
  const labels = async () => (await placeOrder()).made.map(({ label }) => label);
  expect(await labels()).toEqual(['200', '201', '200', '200']);
  await operate(app, ['apis', 'disallow', client.client_id, billingApi]);
  try {
    await vi.waitFor(async () => expect(await labels()).toEqual(['200', '201', '200', '401']), { timeout: 10_000 });
    await shop.running.printed('was refused, and gets no other token. Latchkey refuses: invalid_target');
  } finally {
    await operate(app, ['apis', 'allow', client.client_id, billingApi, '--scope', 'charges:read']);
  }
  await vi.waitFor(async () => expect(await labels()).toEqual(['200', '201', '200', '200']), { timeout: 10_000 });
});

test('keys rotate while all runs: what the new one signs is accepted, and what the old one signed still is', async () => {
  const prices = async (token: string) => (await callService(`${shop.address.orders}/prices`, token)).status;
  const old = await tokenOf(app, shop.clients.shop, ordersApi, 'orders:read');
  expect(await prices(old)).toBe(200);
  // The second time a key signs that the services have never seen.
  for (const _round of [1, 2]) {
    const rotated = await operate(app, ['keys', 'rotate', '--alg', 'ES256', '--force', '--json']);
    const [{ signs }] = JSON.parse(rotated) as [{ signs: string }];
    const token = await vi.waitFor(
      async () => {
        const fresh = await tokenOf(app, shop.clients.shop, ordersApi, 'orders:read');
        expect(decodeProtectedHeader(fresh).kid).toBe(signs);
        return fresh;
      },
      { timeout: 10_000, interval: 100 },
    );
    // A key that is unknown is asked for at most every five seconds.
    await vi.waitFor(async () => expect(await prices(token)).toBe(200), { timeout: 15_000, interval: 250 });
    await shop.running.printed(`orders   accepts what is signed with ${signs}`);
    expect(await prices(old)).toBe(200);
    expect((await placeOrder()).status).toBe(200);
  }
});

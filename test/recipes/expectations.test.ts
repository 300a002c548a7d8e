/**
 * The products of docs/recipes/ that do not run here: another client, in exactly their configuration and registered by the
 * very command of their page, ends with the claims that they need.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person } from '../support/person.ts';
import { allow, registerAccount, signIn } from '../support/relying-party.ts';
import { root } from '../support/running.ts';
import { type Registered, readBlocks, registerAsPrinted } from './pages.ts';
import { type Account, registerVerifiedAccount } from './people.ts';
import { type Product, products } from './products.ts';

let app: TestApp;
let ada: Account;
const clients = new Map<string, Registered>();

beforeAll(async () => {
  app = await startApp();
  ada = await registerVerifiedAccount(app);
  for (const { page } of products) clients.set(page, await registerAsPrinted(page, app.env));
});
afterAll(() => app.close());

const authentications = {
  basic: client.ClientSecretBasic,
  post: client.ClientSecretPost,
  none: () => client.None(),
};

async function configure(product: Product): Promise<client.Configuration> {
  const { client_id, client_secret = '' } = clients.get(product.page) as Registered;
  const config = await client.discovery(
    new URL(app.issuer),
    client_id,
    { id_token_signed_response_alg: 'RS256' },
    authentications[product.authentication](client_secret),
    { execute: [client.allowInsecureRequests] },
  );
  // This client would take the address it came back to, with a slash behind the port that kubelogin leaves out.
  config[client.customFetch] = (url, { body, ...rest }) => {
    if (body instanceof URLSearchParams && body.has('redirect_uri')) body.set('redirect_uri', product.redirectUri);
    return fetch(url, { ...rest, body: body ?? null } as RequestInit);
  };
  return config;
}

/** The whole way of one product; `person` is at the browser, signed in or not. */
async function signInWith(product: Product, account: Account, person: Person = createPerson(app.origin)) {
  const config = await configure(product);
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: product.redirectUri,
    state: expectedState,
    ...(product.nonce && { nonce: expectedNonce }),
    ...(product.pkce && {
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    }),
    ...product.request,
  });
  let page = await person.open(url.href);
  if (page.html.includes('id="login"')) page = await signIn(person, page, account);
  const asked = page.html.includes('id="consent"');
  if (asked) page = await allow(person, page);
  if (!page.left) throw new Error(`the flow ended on a page (${page.status}): ${page.html.slice(0, 2000)}`);
  const checks = {
    expectedState,
    ...(product.nonce && { expectedNonce }),
    ...(product.pkce && { pkceCodeVerifier }),
  };
  const tokens = await client.authorizationCodeGrant(config, page.left, checks, product.exchange);
  return { config, person, asked, callback: page.left, tokens };
}

const said = (account: Account) => ({
  sub: account.sub,
  email: account.email,
  email_verified: true,
  name: account.name,
  sid: expect.any(String),
});
const pick = (from: object, names: readonly string[]) =>
  Object.fromEntries(Object.entries(from).filter(([name]) => names.includes(name)));

describe.each(products)('docs/recipes/$page', (product) => {
  const { page, redirectUri, idToken = [], userinfo = [], refreshes } = product;

  test('what is registered as printed signs a person in with the claims that the product reads', async () => {
    const { config, callback, tokens } = await signInWith(product, ada);
    expect(callback.href.startsWith(`${redirectUri}${redirectUri.includes('/', 8) ? '' : '/'}?`)).toBe(true);
    const claims = tokens.claims() as client.IDToken;
    expect(pick(claims, idToken)).toEqual(pick(said(ada), idToken));
    const info = await client.fetchUserInfo(config, tokens.access_token, ada.sub);
    expect(pick(info, userinfo)).toEqual(pick(said(ada), userinfo));
    // What the pages say of groups, and of an ID token that nobody asked more of.
    for (const each of [claims, info]) expect(each).not.toHaveProperty('groups');
    if (idToken.length === 0) expect(claims).not.toHaveProperty('email');
    expect(tokens.refresh_token !== undefined).toBe(refreshes ?? false);
  });

  test('the settings on the other side name the issuer and the client', () => {
    const settings = ['ini', 'ruby', 'text', 'toml', 'yaml'].flatMap((language) => readBlocks(page, language)).join();
    expect(settings).toMatch(/https:\/\/id\.example\.com\/oidc\b/);
    if (page !== 'tailscale.md') expect(settings).toContain('the-client-id');
  });
});

test.each(products.filter(({ refreshes }) => refreshes))(
  '$page: tokens are renewed, and a new ID token says the same',
  async (product) => {
    const { config, tokens } = await signInWith(product, ada);
    const renewed = await client.refreshTokenGrant(config, tokens.refresh_token ?? '');
    const { idToken = [] } = product;
    expect(pick(renewed.claims() ?? {}, idToken)).toEqual(pick(said(ada), idToken));
    expect(await client.fetchUserInfo(config, renewed.access_token, ada.sub)).toHaveProperty('email', ada.email);
  },
);

test.each(products.flatMap(({ signOut, ...product }) => (signOut ? { ...product, ...signOut } : [])))(
  '$page: its sign-out is asked about and comes back to it',
  async ({ to, by, ...product }) => {
    const { config, person, tokens } = await signInWith(product, ada);
    const said = { id_token_hint: tokens.id_token ?? '', client_id: config.clientMetadata().client_id };
    const parameters = new URLSearchParams({ post_logout_redirect_uri: to, [by]: said[by] });
    const question = await person.open(`${app.issuer}/session/end?${parameters}`);
    const { left } = await person.submit(question, 'logout', {}, 'logout-confirm');
    expect(`${left?.origin}${left?.pathname}`).toBe(to);
  },
);

test('each page of a product that is not run here is in this table', () => {
  const elsewhere = ['README.md', 'apache.md', 'authjs.md', 'spring-boot.md', 'mcp.md', 'mcp-client.md'];
  const pages = readdirSync(join(root, 'docs/recipes')).filter((name) => !elsewhere.includes(name));
  expect(products.map(({ page }) => page).sort()).toEqual(pages.sort());
});

test('Kubernetes: the ID token passes what the API server checks, and one of an unconfirmed address does not', async () => {
  const product = products.find(({ page }) => page === 'kubernetes.md') as Product;
  const keys = createRemoteJWKSet(new URL(`${app.issuer}/jwks`));
  const { config, tokens, asked } = await signInWith(product, ada);
  // A native app is asked about each time (RFC 8252 §8.6), and long-lived access is never ticked beforehand.
  expect(asked).toBe(true);
  const audience = config.clientMetadata().client_id;
  const verify = (token: string) => jwtVerify(token, keys, { issuer: app.issuer, audience, algorithms: ['RS256'] });
  expect((await verify(tokens.id_token ?? '')).payload).toMatchObject({ aud: audience, email: ada.email });
  await expect(
    jwtVerify(tokens.id_token ?? '', keys, { issuer: app.issuer, audience: 'another' }),
  ).rejects.toHaveProperty('code', 'ERR_JWT_CLAIM_VALIDATION_FAILED');

  const unconfirmed = await signInWith(product, await registerAccount(app));
  expect(decodeJwt(unconfirmed.tokens.id_token ?? '')).toHaveProperty('email_verified', false);
});

test('people are not asked about the operator’s own applications, and are about the others', async () => {
  const asked: string[] = [];
  const somebody = await registerVerifiedAccount(app);
  const person = createPerson(app.origin);
  for (const product of products) {
    if ((await signInWith(product, somebody, person)).asked) asked.push(product.page);
  }
  expect(asked).toEqual(['kubernetes.md', 'tailscale.md']);
});

test.each(['client_secret_basic', 'client_secret_post'])('another secret, sent by %s, is refused', async (method) => {
  const { client_id } = clients.get('grafana.md') as Registered;
  const basic = method === 'client_secret_basic';
  const response = await fetch(`${app.issuer}/token`, {
    method: 'POST',
    headers: basic ? { authorization: `Basic ${btoa(`${client_id}:made-up`)}` } : {},
    body: new URLSearchParams({
      ...{ grant_type: 'authorization_code', code: 'made-up', redirect_uri: 'https://grafana.example.com/login' },
      ...(!basic && { client_id, client_secret: 'made-up' }),
    }),
  });
  expect(response.status).toBe(401);
  expect(await response.json()).toMatchObject({ error: 'invalid_client' });
});

test('oauth2-proxy: with allowed_groups it asks for a scope that there is not, and nobody signs in', async () => {
  const { client_id } = clients.get('oauth2-proxy.md') as Registered;
  const asked = new URLSearchParams({
    ...{ client_id, response_type: 'code', redirect_uri: 'https://tools.example.com/oauth2/callback' },
    ...{ scope: 'openid email profile groups', code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' },
  });
  const { left } = await createPerson(app.origin).open(`${app.issuer}/auth?${asked}`);
  expect(left?.searchParams.get('error')).toBe('invalid_scope');
});

test('Tailscale: WebFinger is not answered here, as its page says', async () => {
  const response = await fetch(`${app.origin}/.well-known/webfinger?resource=acct:${ada.email}`);
  expect(response.status).toBe(404);
});

test('Immich: the address of its app is for native clients only, as its page says', async () => {
  const registration = registerAsPrinted('immich.md', app.env, {
    'https://photos.example.com/api/oauth/mobile-redirect': 'app.immich:///oauth-callback',
  });
  await expect(registration).rejects.toThrow('must be https or http, unless application_type is native');
});

/** What an operator configures, seen from outside: keys, branding, metadata; and every standard claim over HTTP. */
import { generateKeyPairSync } from 'node:crypto';
import { calculateJwkThumbprint, createRemoteJWKSet, decodeProtectedHeader, exportJWK, jwtVerify } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson } from '../support/person.ts';
import { discover, registerAccount, registerClient, signIn, signInThrough } from '../support/relying-party.ts';

const brought = generateKeyPairSync('ec', { namedCurve: 'P-256' });
let app: TestApp;

beforeAll(async () => {
  app = await startApp({
    env: {
      JWKS_PRIVATE_KEY: brought.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
      BRAND_NAME: 'Northgate <& Sons>',
      BRAND_HUE: '300',
      BRAND_LOGO_URL: 'https://cdn.northgate.example/mark.svg',
    },
  });
});
afterAll(() => app.close());

test('RFC 8414 metadata stands where an issuer with a path has it, and equals OpenID discovery', async () => {
  const at = async (path: string) => (await fetch(app.origin + path)).json();
  const metadata = await at('/.well-known/oauth-authorization-server/oidc');
  expect(metadata).toEqual(await at('/oidc/.well-known/openid-configuration'));
  expect(metadata).toMatchObject({ issuer: app.issuer, token_endpoint: `${app.issuer}/token` });
});

test('a key brought from outside signs for its algorithm, and RS256 stays the default', async () => {
  const account = await registerAccount(app);
  const idToken = async (metadata: object) => {
    const rp = await discover(app, await registerClient(app, { ...metadata }));
    return (await signInThrough(app, rp, account)).tokens.id_token ?? '';
  };
  const kid = await calculateJwkThumbprint(await exportJWK(brought.publicKey));
  const [es256, rs256] = [await idToken({ id_token_signed_response_alg: 'ES256' }), await idToken({})];
  expect(decodeProtectedHeader(es256)).toMatchObject({ alg: 'ES256', kid });
  expect(decodeProtectedHeader(rs256)).toMatchObject({ alg: 'RS256' });
  const keys = createRemoteJWKSet(new URL(`${app.issuer}/jwks`));
  for (const token of [es256, rs256]) expect((await jwtVerify(token, keys)).payload.sub).toBe(account.sub);
});

test('keys are read again while requests are served: none fails, and sessions and tokens stay', async () => {
  const account = await registerAccount(app);
  const rp = await discover(app, await registerClient(app));
  const { person, tokens } = await signInThrough(app, rp, account);
  const served = Promise.all(Array.from({ length: 20 }, () => rp.userinfo(tokens.access_token, account.sub)));
  await Promise.all([app.app.reload(), served]);
  const request = await rp.start({ prompt: 'none' });
  const again = await request.finish((await person.open(request.url)).left as URL);
  expect(decodeProtectedHeader(again.id_token ?? '').kid).toBe(decodeProtectedHeader(tokens.id_token ?? '').kid);
  expect(await rp.introspect(tokens.access_token)).toMatchObject({ active: true });
});

test('name, hue and logo of the operator are on the pages, and the policy lets just that logo in', async () => {
  const page = await createPerson(app.origin).open('/auth/login');
  expect(page.html).toContain('Northgate &lt;&amp; Sons&gt;');
  expect(page.html).toContain('src="https://cdn.northgate.example/mark.svg"');
  const policy = page.headers.get('content-security-policy');
  expect(policy).toContain("img-src 'self' data: https://cdn.northgate.example;");
  expect(await (await fetch(`${app.origin}/assets/brand.css`)).text()).toContain('--hue:300');
});

test('every standard scope gives its claims, as the person wrote them into the profile', async () => {
  const account = await registerAccount(app);
  const person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), account);
  const profile = {
    given_name: 'Ada',
    family_name: 'Moreno',
    middle_name: 'Inês',
    nickname: 'adinha',
    preferred_username: 'ada',
    profile: 'https://ada.example/',
    picture: 'https://ada.example/me.jpg',
    website: 'https://blog.ada.example/',
    gender: 'female',
    birthdate: '1994-06-27',
    zoneinfo: 'Europe/Lisbon',
    locale: 'pt-PT',
  };
  const address = { locality: 'Lisboa', postal_code: '1000-001', country: 'Portugal' };
  const written = { ...profile, ...address, name: 'Ada Moreno', phone_number: '+351210000000' };
  const saved = await person.submit(await person.open('/account/profile'), 'profile', written, undefined);
  expect(saved.url).toContain('done=saved');

  const rp = await discover(app, await registerClient(app));
  const scope = 'openid profile email address phone';
  const { tokens } = await signInThrough(app, rp, account, { person, parameters: { scope } });
  expect(await rp.userinfo(tokens.access_token, account.sub)).toMatchObject({
    ...profile,
    sub: account.sub,
    name: 'Ada Moreno',
    email: account.email,
    email_verified: false,
    phone_number: '+351210000000',
    phone_number_verified: false,
    address: { ...address, formatted: expect.stringContaining('Lisboa') },
    updated_at: expect.any(Number),
  });
});

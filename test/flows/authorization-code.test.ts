/** The authorization code flow, from a person and an independent relying party who meet here for the first time. */
import { randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { post } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, readCheckboxes, readText } from '../support/person.ts';
import {
  allow,
  discover,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
  signInThrough,
} from '../support/relying-party.ts';

let app: TestApp;
let rp: RelyingParty;
let account: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  app = await startApp();
  rp = await discover(app, await registerClient(app));
  account = await registerAccount(app);
});
afterAll(() => app.close());

test('a relying party signs a person in: ID token, userinfo, introspection, revocation', async () => {
  const { tokens } = await signInThrough(app, rp, account);
  const claims = tokens.claims();
  expect(claims).toMatchObject({ iss: app.issuer, sub: account.sub, aud: rp.clientId, amr: ['pwd'] });
  expect(claims?.auth_time).toBeCloseTo(Date.now() / 1000, -2);
  const userinfo = await rp.userinfo(tokens.access_token, account.sub);
  expect(userinfo).toMatchObject({ sub: account.sub, name: account.name, email: account.email, email_verified: false });
  expect(await rp.introspect(tokens.access_token)).toMatchObject({
    active: true,
    client_id: rp.clientId,
    sub: account.sub,
  });
  await rp.revoke(tokens.access_token);
  expect(await rp.introspect(tokens.access_token)).toEqual({ active: false });
  await expect(rp.userinfo(tokens.access_token, account.sub)).rejects.toThrow();
});

test('one sign-in serves every client', async () => {
  const { person } = await signInThrough(app, rp, account);
  const other = await discover(app, await registerClient(app, { client_name: 'Kestrel Cycling' }));
  const request = await other.start();
  const page = await person.open(request.url);
  expect(page.html).toContain('id="consent"');
  expect(readText(page.html)).toContain('Kestrel Cycling');
  const left = await allow(person, page);
  expect((await request.finish(left.left as URL)).claims()?.sub).toBe(account.sub);
});

describe('consent', () => {
  test('is remembered in every browser, and asked again for wider scopes', async () => {
    const person = await registerAccount(app);
    await signInThrough(app, rp, person);
    const elsewhere = createPerson(app.origin);
    const again = await rp.start();
    const afterSignIn = await signIn(elsewhere, await elsewhere.open(again.url), person);
    expect(afterSignIn.left?.searchParams.get('code')).toBeTruthy();
    const wider = await elsewhere.open((await rp.start({ scope: 'openid profile email phone' })).url);
    expect(readCheckboxes(wider.html, 'scope')).toEqual({ profile: true, email: true, phone: true });
  });

  test('is asked again for prompt=consent', async () => {
    const { person } = await signInThrough(app, rp, account);
    const page = await person.open((await rp.start({ prompt: 'consent' })).url);
    expect(page.html).toContain('id="consent"');
  });

  test('a scope that was unticked is missing from the token, and not asked about again', async () => {
    const ada = await registerAccount(app);
    const { person, tokens } = await signInThrough(app, rp, ada, { scopes: ['profile'] });
    expect(tokens.scope?.split(' ').sort()).toEqual(['openid', 'profile']);
    const userinfo = await rp.userinfo(tokens.access_token, ada.sub);
    expect(userinfo.name).toBe(ada.name);
    expect(userinfo).not.toHaveProperty('email');
    const again = await person.open((await rp.start()).url);
    expect(again.left?.searchParams.get('code')).toBeTruthy();
    const asked = await person.open((await rp.start({ prompt: 'consent' })).url);
    expect(readCheckboxes(asked.html, 'scope')).toEqual({ profile: true, email: false });
  });

  test('long-lived access is never ticked for anybody', async () => {
    const ada = await registerAccount(app);
    const person = createPerson(app.origin);
    const request = await rp.start({ scope: 'openid offline_access', prompt: 'consent' });
    const page = await signIn(person, await person.open(request.url), ada);
    expect(readCheckboxes(page.html, 'scope')).toEqual({ offline_access: false });
    await allow(person, page, ['offline_access']);
    const again = await person.open((await rp.start({ scope: 'openid offline_access', prompt: 'consent' })).url);
    expect(readCheckboxes(again.html, 'scope')).toEqual({ offline_access: false });
  });

  test('no is access_denied, and nothing is remembered', async () => {
    const ada = await registerAccount(app);
    const person = createPerson(app.origin);
    const request = await rp.start();
    const page = await signIn(person, await person.open(request.url), ada);
    const left = await person.submit(page, 'consent', { scope: ['profile'] }, 'consent-deny');
    expect(left.left?.searchParams.get('error')).toBe('access_denied');
    expect(left.left?.searchParams.get('state')).toBe(request.state);
    expect(left.left?.searchParams.get('iss')).toBe(app.issuer);
    expect((await person.open((await rp.start()).url)).html).toContain('id="consent"');
  });

  test('single claims are listed, granted and refused like scopes', async () => {
    const ada = await registerAccount(app);
    const person = createPerson(app.origin);
    const claims = JSON.stringify({ userinfo: { email: null, nickname: null } });
    const request = await rp.start({ scope: 'openid', claims });
    const page = await signIn(person, await person.open(request.url), ada);
    expect(readCheckboxes(page.html, 'claim')).toEqual({ email: true, nickname: true });
    const left = await person.submit(page, 'consent', { claim: ['email'] }, 'consent-approve');
    const tokens = await request.finish(left.left as URL);
    expect(await rp.userinfo(tokens.access_token, ada.sub)).toEqual({ sub: ada.sub, email: ada.email });
  });
});

describe('a first-party client', () => {
  test('is asked about no more once the operator vouches for it, whatever was refused before', async () => {
    const registration = await registerClient(app);
    const party = await discover(app, registration);
    const ada = await registerAccount(app);
    const { person } = await signInThrough(app, party, ada, { scopes: ['profile'] });
    await app.database.db.execute(
      sql`update oidc_clients set first_party = true where client_id = ${registration.client_id}`,
    );
    const { tokens } = await signInThrough(app, party, ada, { person });
    expect(tokens.scope?.split(' ').sort()).toEqual(['email', 'openid', 'profile']);
  });

  test('asks for no consent and may refresh without naming offline_access', async () => {
    const registration = await registerClient(app);
    await app.database.db.execute(
      sql`update oidc_clients set first_party = true where client_id = ${registration.client_id}`,
    );
    const own = await discover(app, registration);
    const person = createPerson(app.origin);
    const request = await own.start();
    const page = await signIn(person, await person.open(request.url), account);
    const tokens = await request.finish(page.left as URL);
    expect(tokens.scope?.split(' ')).not.toContain('offline_access');
    expect((await own.refresh(tokens.refresh_token as string)).claims()?.sub).toBe(account.sub);
  });
});

describe('prompt, max_age and hints', () => {
  test('prompt=none is silent with a session and login_required without', async () => {
    const { person, tokens } = await signInThrough(app, rp, account);
    const silent = await rp.start({ prompt: 'none', id_token_hint: tokens.id_token as string });
    const page = await person.open(silent.url);
    expect((await silent.finish(page.left as URL)).claims()?.sub).toBe(account.sub);
    const stranger = await createPerson(app.origin).open((await rp.start({ prompt: 'none' })).url);
    expect(stranger.left?.searchParams.get('error')).toBe('login_required');
  });

  test('prompt=none is consent_required when something was never asked', async () => {
    const { person } = await signInThrough(app, rp, await registerAccount(app));
    const page = await person.open((await rp.start({ prompt: 'none', scope: 'openid address' })).url);
    expect(page.left?.searchParams.get('error')).toBe('consent_required');
  });

  test.each([{ prompt: 'login' }, { max_age: '0' }])('%o asks for the password again', async (parameters) => {
    const { person, tokens } = await signInThrough(app, rp, account);
    const request = await rp.start(parameters);
    const page = await person.open(request.url);
    expect(page.html).toContain('id="login"');
    expect(page.html).toContain(account.email);
    const left = await signIn(person, page, account);
    const again = await client.authorizationCodeGrant(rp.config, left.left as URL, {
      pkceCodeVerifier: request.verifier,
      expectedState: request.state,
      expectedNonce: request.nonce,
    });
    expect(Number(again.claims()?.auth_time)).toBeGreaterThanOrEqual(Number(tokens.claims()?.auth_time));
  });

  test('an id_token_hint of somebody else asks to sign in', async () => {
    const { tokens } = await signInThrough(app, rp, await registerAccount(app));
    const { person } = await signInThrough(app, rp, account);
    const page = await person.open((await rp.start({ id_token_hint: tokens.id_token as string })).url);
    expect(page.html).toContain('id="login"');
  });

  test('login_hint is filled in, ui_locales and display are accepted', async () => {
    const parameters = { login_hint: 'ada@moreno.example', ui_locales: 'pt-PT en', display: 'popup' };
    const page = await createPerson(app.origin).open((await rp.start(parameters)).url);
    expect(page.status).toBe(200);
    expect(page.html).toContain('value="ada@moreno.example"');
  });
});

test('an authorization request and a sign-out may be posted from the client’s own site', async () => {
  const { person, tokens } = await signInThrough(app, rp, account);
  const fromClient = { origin: 'https://fernwood.example', 'sec-fetch-site': 'cross-site' };
  const request = await rp.start();
  const body = new URL(request.url).searchParams;
  const page = await person.open('/oidc/auth', { method: 'POST', body, headers: fromClient });
  expect((await request.finish(page.left as URL)).claims()?.sub).toBe(account.sub);
  const hint = new URLSearchParams({ id_token_hint: tokens.id_token ?? '' });
  const signOut = await person.open('/oidc/session/end', { method: 'POST', body: hint, headers: fromClient });
  expect(signOut.html).toContain('id="logout"');
  const wrong = { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } };
  expect((await person.request('/oidc/auth', wrong)).status).toBe(415);
  const long = new URLSearchParams({ state: 'x'.repeat(9000) });
  expect((await person.request('/oidc/auth', { method: 'POST', body: long })).status).toBe(413);
});

test('form_post hands the code over in a form that may go to the client', async () => {
  const { person } = await signInThrough(app, rp, account);
  const page = await person.open((await rp.start({ response_mode: 'form_post' })).url);
  expect(page.html).toContain(`action="${app.origin}/callback"`);
  expect(page.html).toMatch(/name="code" value="[^"]+"/);
  expect(page.headers.get('content-security-policy')).toContain(`form-action 'self' ${app.origin}`);
});

test('pairwise subjects differ between sectors and stay the same within one', async () => {
  const subAt = async (host: string) => {
    const redirectUri = `https://${host}/cb`;
    const registration = await registerClient(app, { subject_type: 'pairwise', redirect_uris: [redirectUri] });
    const party = await discover(app, registration);
    const { tokens } = await signInThrough(app, party, account, { parameters: { redirect_uri: redirectUri } });
    return tokens.claims()?.sub;
  };
  const [first, again, other] = [await subAt('a.example'), await subAt('a.example'), await subAt('b.example')];
  expect(first).toBe(again);
  expect(new Set([first, other, account.sub]).size).toBe(3);
});

test('a public client needs PKCE and gets CORS for its own origins only', async () => {
  const registration = await registerClient(app, {
    token_endpoint_auth_method: 'none',
    redirect_uris: ['https://spa.example/cb'],
  });
  const bare = new URL(`${app.issuer}/auth`);
  bare.search = new URLSearchParams({
    client_id: registration.client_id,
    response_type: 'code',
    redirect_uri: 'https://spa.example/cb',
    scope: 'openid',
  }).toString();
  const { person } = await signInThrough(app, rp, account);
  const page = await person.open(bare.href);
  expect(page.left?.searchParams.get('error')).toBe('invalid_request');
  const ask = (origin: string) =>
    post(app, 'token', { grant_type: 'authorization_code', code: 'x' }, registration, { origin });
  expect((await ask('https://spa.example')).headers.get('access-control-allow-origin')).toBe('https://spa.example');
  const foreign = await ask('https://evil.example');
  expect(foreign.headers.get('access-control-allow-origin')).toBeNull();
  expect(foreign.status).toBe(400);
});

test('client_secret_post and client_secret_basic both work, a wrong secret is 401', async () => {
  const registration = await registerClient(app, { grant_types: ['client_credentials'], redirect_uris: undefined });
  const { client_id, client_secret = '' } = registration;
  const grant = { grant_type: 'client_credentials' };
  expect((await post(app, 'token', { ...grant, client_id, client_secret })).status).toBe(200);
  expect((await post(app, 'token', grant, registration)).status).toBe(200);
  const wrong = await post(app, 'token', grant, { client_id, client_secret: randomBytes(32).toString('base64url') });
  expect(wrong).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
});

/** DPoP with nonces (RFC 9449 §8): offered to everybody, demanded of clients that ask for it, good on every instance. */
import * as client from 'openid-client';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  advance,
  authorizationUrl,
  issueCode,
  pkce,
  post,
  redeem,
  type SignedIn,
  signedInPerson,
} from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { ath, createProofKey, type ProofKey } from '../support/dpop.ts';
import { allow, discover, type Registration, registerClient } from '../support/relying-party.ts';

let app: TestApp;
let twin: TestApp;
let strict: Registration;
let relaxed: Registration;
let signedIn: SignedIn;
let key: ProofKey;

beforeAll(async () => {
  app = await startApp();
  // The same provider in another process: a load balancer would send requests to either.
  twin = await startApp({ database: { url: app.databaseUrl }, env: { OIDC_ISSUER: app.origin } });
  strict = await registerClient(app, { dpop_require_nonce: true, dpop_bound_access_tokens: true });
  relaxed = await registerClient(app, { dpop_bound_access_tokens: true });
  signedIn = await signedInPerson(app);
  key = await createProofKey();
});
afterAll(async () => {
  await twin.close();
  await app.close();
});
afterEach(() => {
  vi.useRealTimers();
});

const tokenUrl = () => `${app.issuer}/token`;
const reachAt = (server: TestApp) => ({ issuer: `http://127.0.0.1:${server.port}/oidc` });

/** The nonce that comes with the refusal of a request without. */
async function nonceFrom(server = app): Promise<string> {
  const nonce = (await redeemWith({}, strict, server)).headers.get('dpop-nonce');
  if (!nonce) throw new Error('no nonce came');
  return nonce;
}

async function redeemWith(claims: Record<string, unknown>, by = strict, server: TestApp = app) {
  const issued = await issueCode(app, by, signedIn);
  const parameters = {
    grant_type: 'authorization_code',
    code: issued.code,
    redirect_uri: issued.redirectUri,
    code_verifier: issued.verifier,
  };
  return post(reachAt(server), 'token', parameters, by, { dpop: await key.prove(tokenUrl(), claims) });
}

async function boundToken(by = strict): Promise<string> {
  const answer = await redeemWith({ nonce: (await issueNonce(by)) ?? '' }, by);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return String(answer.body.access_token);
}

async function issueNonce(by: Registration): Promise<string | undefined> {
  return (await redeemWith({}, by)).headers.get('dpop-nonce') ?? undefined;
}

async function userinfo(accessToken: string, claims: Record<string, unknown>) {
  const url = `${app.issuer}/userinfo`;
  const dpop = await key.prove(url, { htm: 'GET', ath: ath(accessToken), ...claims });
  return fetch(url, { headers: { authorization: `DPoP ${accessToken}`, dpop } });
}

describe('a client with dpop_require_nonce', () => {
  test('is told at the token endpoint to use the nonce that comes along', async () => {
    const refused = await redeemWith({});
    expect([refused.status, refused.body.error]).toEqual([400, 'use_dpop_nonce']);
    const nonce = refused.headers.get('dpop-nonce');
    expect(nonce).toMatch(/^[\w-]{43}$/);
    expect((await redeemWith({ nonce })).body).toMatchObject({ token_type: 'DPoP' });
  });

  test('is told so where it pushes a request', async () => {
    const url = `${app.issuer}/request`;
    const parameters = Object.fromEntries(new URL(authorizationUrl(app, strict)).searchParams);
    const push = async (claims: Record<string, unknown>) =>
      post(app, 'request', parameters, strict, { dpop: await key.prove(url, claims) });
    const refused = await push({});
    expect([refused.status, refused.body.error]).toEqual([400, 'use_dpop_nonce']);
    expect((await push({ nonce: refused.headers.get('dpop-nonce') })).status).toBe(201);
  });

  test('is told so at userinfo', async () => {
    const token = await boundToken();
    const refused = await userinfo(token, {});
    const challenge = refused.headers.get('www-authenticate') ?? '';
    expect([refused.status, challenge]).toEqual([401, expect.stringMatching(/^DPoP .*error="use_dpop_nonce"/)]);
    expect((await userinfo(token, { nonce: refused.headers.get('dpop-nonce') })).status).toBe(200);
  });

  test('works with a client library that keeps nonces by itself', async () => {
    const rp = await discover(app, strict);
    const DPoP = client.getDPoPHandle(rp.config, await client.randomDPoPKeyPair());
    const { verifier, challenge } = pkce();
    const issued = await issueCode(app, strict, signedIn, { code_challenge: challenge });
    const checks = { pkceCodeVerifier: verifier, expectedState: 'state-of-the-client' };
    const tokens = await client.authorizationCodeGrant(rp.config, issued.callback, checks, undefined, { DPoP });
    const claims = await client.fetchUserInfo(rp.config, tokens.access_token, signedIn.account.sub, { DPoP });
    expect(claims.sub).toBe(signedIn.account.sub);
  });
});

describe('a nonce', () => {
  test('is offered to a client that need not use one', async () => {
    const answer = await redeemWith({}, relaxed);
    expect([answer.status, answer.headers.get('dpop-nonce')]).toEqual([200, expect.stringMatching(/^[\w-]{43}$/)]);
    expect((await redeemWith({ nonce: answer.headers.get('dpop-nonce') }, relaxed)).status).toBe(200);
  });

  test('of one instance is good on every other', async () => {
    expect((await redeemWith({ nonce: await nonceFrom(twin) }, strict, app)).status).toBe(200);
    expect((await redeemWith({ nonce: await nonceFrom(app) }, strict, twin)).status).toBe(200);
  });

  test('that is made up or too old is answered with a new one', async () => {
    const old = await nonceFrom();
    expect((await redeemWith({ nonce: 'made-up' })).body.error).toBe('use_dpop_nonce');
    advance(6 * 60);
    const refused = await redeemWith({ nonce: old });
    expect(refused.body.error).toBe('use_dpop_nonce');
    expect((await redeemWith({ nonce: refused.headers.get('dpop-nonce') })).status).toBe(200);
  });

  test('helps a client with a wrong clock, to whom it is offered', async () => {
    const hourAgo = Math.floor(Date.now() / 1000) - 3600;
    const refused = await redeemWith({ iat: hourAgo }, relaxed);
    expect(refused.body.error).toBe('use_dpop_nonce');
    const nonce = refused.headers.get('dpop-nonce');
    expect((await redeemWith({ iat: hourAgo, nonce }, relaxed)).status).toBe(200);
  });

  test('may be read by scripts of other origins (§8.2)', async () => {
    const open = await registerClient(app, { token_endpoint_auth_method: 'none' });
    const headers = { origin: app.origin, dpop: await key.prove(tokenUrl()) };
    const answer = await redeem(app, open, await issueCode(app, open, signedIn));
    expect(answer.status).toBe(200);
    const asked = await post(app, 'token', { grant_type: 'authorization_code' }, open, headers);
    expect(asked.headers.get('access-control-expose-headers')?.toLowerCase()).toContain('dpop-nonce');
  });
});

test('a public client’s refresh token is bound to its key (§5)', async () => {
  const open = await registerClient(app, {
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
  });
  const rp = await discover(app, open);
  const DPoP = client.getDPoPHandle(rp.config, await client.randomDPoPKeyPair());
  const { callback, request } = await codeFor(rp);
  const checks = { pkceCodeVerifier: request.verifier, expectedState: request.state, expectedNonce: request.nonce };
  const { refresh_token = '' } = await client.authorizationCodeGrant(rp.config, callback, checks, undefined, { DPoP });
  await expect(rp.refresh(refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
  const thief = client.getDPoPHandle(rp.config, await client.randomDPoPKeyPair());
  await expect(client.refreshTokenGrant(rp.config, refresh_token, undefined, { DPoP: thief })).rejects.toMatchObject({
    error: 'invalid_grant',
  });
  const refreshed = await client.refreshTokenGrant(rp.config, refresh_token, undefined, { DPoP });
  expect(refreshed.token_type).toBe('dpop');
});

async function codeFor(rp: Awaited<ReturnType<typeof discover>>) {
  const request = await rp.start({ scope: 'openid offline_access', prompt: 'consent' });
  const page = await allow(signedIn.person, await signedIn.person.open(request.url));
  if (!page.left) throw new Error('no answer');
  return { request, callback: page.left };
}

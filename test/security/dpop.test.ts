/** What a DPoP proof must say, and that it says it once (SECURITY 43; RFC 9449 §4.3, §11.1). */

import { randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createClientKeys } from '../support/client-keys.ts';
import { ath, createProofKey, type ProofKey } from '../support/dpop.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import { issueCode, issueTokens, post, type SignedIn, signedInPerson } from './protocol.ts';

let app: TestApp;
let twin: TestApp;
let service: Registration;
let web: Registration;
let signedIn: SignedIn;
let key: ProofKey;
let boundToken: string;

beforeAll(async () => {
  app = await startApp();
  twin = await startApp({ database: { url: app.databaseUrl }, env: { OIDC_ISSUER: app.origin } });
  service = await registerClient(app, {
    redirect_uris: undefined,
    grant_types: ['client_credentials'],
    dpop_bound_access_tokens: true,
  });
  web = await registerClient(app);
  signedIn = await signedInPerson(app);
  key = await createProofKey();
  const issued = await issueCode(app, web, signedIn);
  const parameters = {
    grant_type: 'authorization_code',
    code: issued.code,
    redirect_uri: issued.redirectUri,
    code_verifier: issued.verifier,
  };
  const answer = await post(app, 'token', parameters, web, { dpop: await key.prove(tokenUrl()) });
  boundToken = String(answer.body.access_token);
});
afterAll(async () => {
  await twin.close();
  await app.close();
});

const tokenUrl = () => `${app.issuer}/token`;
const userinfoUrl = () => `${app.issuer}/userinfo`;
const now = () => Math.floor(Date.now() / 1000);
const addressOf = ({ port }: TestApp) => ({ issuer: `http://127.0.0.1:${port}/oidc` });

function tokenWith(dpop: string, server = app) {
  return post(addressOf(server), 'token', { grant_type: 'client_credentials' }, service, { dpop });
}

function userinfoWith(dpop: string | undefined, token = boundToken, scheme = 'DPoP', server = app) {
  const headers = { authorization: `${scheme} ${token}`, ...(dpop && { dpop }) };
  return fetch(`${addressOf(server).issuer}/userinfo`, { headers });
}

const forUserinfo = (claims: Record<string, unknown> = {}, by = key) =>
  by.prove(userinfoUrl(), { htm: 'GET', ath: ath(boundToken), ...claims });

describe('at the token endpoint a proof is refused', () => {
  const wrong: [string, () => Promise<string> | string][] = [
    ['for another method', () => key.prove(tokenUrl(), { htm: 'GET' })],
    ['for another endpoint', () => key.prove(userinfoUrl())],
    ['for another host', () => key.prove('https://evil.example/oidc/token')],
    ['without a method', () => key.prove(tokenUrl(), { htm: undefined })],
    ['without an address', () => key.prove(tokenUrl(), { htu: undefined })],
    ['without an id', () => key.prove(tokenUrl(), { jti: undefined })],
    ['without a time', () => key.prove(tokenUrl(), { iat: undefined })],
    ['expired by its own words', () => key.prove(tokenUrl(), { exp: now() - 60 })],
    ['not good yet by its own words', () => key.prove(tokenUrl(), { nbf: now() + 600 })],
    ['of another type', () => key.prove(tokenUrl(), {}, { typ: 'JWT' })],
    ['without its key', () => key.prove(tokenUrl(), {}, { jwk: undefined })],
    ['with another key than signed it', async () => key.prove(tokenUrl(), {}, { jwk: (await createClientKeys()).jwk })],
    ['that is none', () => 'proof'],
  ];
  test.each(wrong)('%s', async (_what, make) => {
    const { status, body } = await tokenWith(await make());
    expect([status, body.error]).toEqual([400, 'invalid_dpop_proof']);
  });

  test('by RS256, HMAC or no signature: only what discovery lists', async () => {
    const { dpop_signing_alg_values_supported: listed } = (await (
      await fetch(`${app.issuer}/.well-known/openid-configuration`)
    ).json()) as Record<string, string[]>;
    expect(listed).toEqual(['ES256', 'PS256', 'EdDSA', 'Ed25519']);
    for (const alg of ['RS256', ...(listed ?? [])]) {
      const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
      const header = { alg, typ: 'dpop+jwt', jwk: await exportJWK(publicKey) };
      const claims = { jti: randomUUID(), htm: 'POST', htu: tokenUrl(), iat: now() };
      const { status } = await tokenWith(await new SignJWT(claims).setProtectedHeader(header).sign(privateKey));
      expect([alg, status]).toEqual([alg, alg === 'RS256' ? 400 : 200]);
    }
    const [header = '', payload] = (await key.prove(tokenUrl())).split('.');
    const said = JSON.parse(Buffer.from(header, 'base64url').toString());
    for (const alg of ['none', 'HS256']) {
      const forged = Buffer.from(JSON.stringify({ ...said, alg })).toString('base64url');
      expect((await tokenWith(`${forged}.${payload}.`)).body.error).toBe('invalid_dpop_proof');
    }
  });

  test('outside five minutes, unless it brings a nonce', async () => {
    for (const iat of [now() - 360, now() + 360]) {
      expect((await tokenWith(await key.prove(tokenUrl(), { iat }))).body.error).toBe('use_dpop_nonce');
    }
  });

  test('that is missing, from a client whose tokens must be bound', async () => {
    const { body } = await post(app, 'token', { grant_type: 'client_credentials' }, service);
    expect(body.error).toBe('invalid_grant');
  });
});

describe('a proof is good once', () => {
  test('of eight parallel uses at two instances one succeeds, at the token endpoint', async () => {
    const proof = await key.prove(tokenUrl());
    const answers = await Promise.all(Array.from({ length: 8 }, (_, turn) => tokenWith(proof, turn % 2 ? twin : app)));
    const errors = answers.filter(({ status }) => status !== 200).map(({ body }) => body.error);
    expect(errors).toEqual(Array(7).fill('invalid_grant'));
  });

  test('of eight parallel uses at two instances one succeeds, at userinfo', async () => {
    const proof = await forUserinfo();
    const use = (_: unknown, turn: number) => userinfoWith(proof, boundToken, 'DPoP', turn % 2 ? twin : app);
    const statuses = await Promise.all(Array.from({ length: 8 }, async (...args) => (await use(...args)).status));
    expect(statuses.sort()).toEqual([200, ...Array(7).fill(401)]);
  });

  test('an id of one client is no hindrance for another', async () => {
    const jti = randomUUID();
    expect((await tokenWith(await key.prove(tokenUrl(), { jti }))).status).toBe(200);
    const dpop = await forUserinfo({ jti });
    expect((await userinfoWith(dpop)).status).toBe(200);
  });
});

describe('a bound access token', () => {
  test('is worth nothing without its key, nor under the name of Bearer', async () => {
    expect((await userinfoWith(await forUserinfo())).status).toBe(200);
    expect((await userinfoWith(undefined)).status).toBe(400);
    expect((await userinfoWith(undefined, boundToken, 'Bearer')).status).toBe(401);
    expect((await userinfoWith(await forUserinfo({}, await createProofKey()))).status).toBe(401);
  });

  test('wants a proof for itself (ath)', async () => {
    for (const wrong of [undefined, ath('another'), boundToken]) {
      expect((await userinfoWith(await forUserinfo({ ath: wrong }))).status).toBe(401);
    }
  });

  test('cannot be had by a proof for a token that is not bound', async () => {
    const { access_token } = await issueTokens(app, web, signedIn, {});
    const proof = await forUserinfo({ ath: ath(access_token) });
    expect((await userinfoWith(proof, access_token)).status).toBe(401);
    expect((await userinfoWith(undefined, access_token, 'Bearer')).status).toBe(200);
  });
});

import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { explainClaim } from '../../src/playground/explain.ts';
import { accessTokenHash, checkIdToken, isGood } from '../../src/playground/id-token.ts';
import { tokenView } from '../../src/playground/id-token-view.ts';

const issuer = 'https://id.example/oidc';
const now = new Date('2026-03-12T09:41:07Z');
const iat = now.getTime() / 1000;
const accessToken = 'jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y';
const expected = { issuer, clientId: 'playground', nonce: 'n-1', accessToken };
const claims = { iss: issuer, sub: 'u_1', aud: 'playground', exp: iat + 600, iat, nonce: 'n-1' };

const { privateKey, publicKey } = await generateKeyPair('ES256');
const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] };
const sign = (payload: object) =>
  new SignJWT(payload as Record<string, unknown>).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(privateKey);
const check = async (changes: object, expecting: object = {}) =>
  checkIdToken(await sign({ ...claims, ...changes }), jwks, { ...expected, ...expecting }, now);

describe('an ID token (OIDC Core §3.1.3.7)', () => {
  test('that is as it should be is good', async () => {
    const at_hash = accessTokenHash(accessToken, 'ES256');
    for (const changes of [{}, { at_hash }, { aud: ['playground', 'api'], azp: 'playground' }]) {
      expect(isGood(await check(changes))).toBe(true);
    }
  });

  test.each([
    ['iss', { iss: 'https://other.example' }],
    ['sub', { sub: 1 }],
    ['aud', { aud: 'other' }],
    ['exp', { exp: iat }],
    ['exp', { exp: 'never' }],
    ['iat', { iat: undefined }],
    ['nonce', { nonce: 'n-2' }],
    ['nonce', { nonce: undefined }],
    ['azp', { azp: 'other' }],
    ['azp', { aud: ['playground', 'api'] }],
    ['at_hash', { at_hash: 'x' }],
  ])('with a wrong %s is not', async (name, changes) => {
    const findings = await check(changes);
    expect(isGood(findings)).toBe(false);
    expect(Object.keys(findings.claims).filter((claim) => !findings.claims[claim])).toEqual([name]);
    const { claims: shown, missing } = tokenView(findings, `${issuer}/jwks`);
    expect([...shown.filter(({ ok }) => !ok).map((claim) => claim.name), ...missing]).toEqual([name]);
  });

  test('signed by somebody else is not, whatever it claims', async () => {
    const findings = await checkIdToken(await sign(claims), { keys: [] }, expected, now);
    expect(isGood(findings)).toBe(false);
    expect(tokenView(findings, `${issuer}/jwks`).signature).toMatchObject({ ok: false });
  });

  test('got by refresh is about the same person and needs no nonce (§12.2)', async () => {
    const refreshed = { nonce: undefined, sub: 'u_1' };
    expect(isGood(await check({ nonce: undefined }, refreshed))).toBe(true);
    expect(isGood(await check({ nonce: undefined, sub: 'u_2' }, refreshed))).toBe(false);
  });

  test('is shown in its parts, most telling claims first', async () => {
    const view = tokenView(await check({ amr: ['pwd', 'otp'], constructor: 1 }), `${issuer}/jwks`);
    expect(view.parts).toHaveLength(3);
    expect(view.signature).toEqual({
      ok: true,
      title: 'Signature verified.',
      before: 'ES256, with key ',
      kid: 'k',
      from: '/oidc/jwks',
    });
    expect(view.claims.map(({ name }) => name)).toEqual([
      'iss',
      'sub',
      'aud',
      'exp',
      'iat',
      'nonce',
      'amr',
      'constructor',
    ]);
    expect(view.claims.at(-2)).toMatchObject({ value: 'pwd otp', ok: true });
    expect(view.claims.at(-1)).toMatchObject({ value: '1', ok: true });
  });

  test('that is no token at all is shown as such', async () => {
    const findings = await checkIdToken('<script>', jwks, expected, now);
    expect(isGood(findings)).toBe(false);
    expect(tokenView(findings, `${issuer}/jwks`)).toMatchObject({
      parts: ['<script>'],
      signature: { ok: false, before: 'It isn’t a signed token.' },
      claims: [],
      missing: ['iss', 'sub', 'aud', 'exp', 'iat', 'nonce'],
    });
  });
});

test('at_hash is the left half of the hash that goes with the algorithm (OIDC Core §3.1.3.6, its own example)', () => {
  expect(accessTokenHash(accessToken, 'RS256')).toBe('77QmUPtjPfzWtF2AnpK9RQ');
  for (const [alg, bytes] of [
    ['ES384', 24],
    ['PS512', 32],
    ['EdDSA', 32],
  ] as const) {
    expect(Buffer.from(accessTokenHash(accessToken, alg), 'base64url')).toHaveLength(bytes);
  }
});

describe('a claim in plain words', () => {
  test.each([
    ['exp', true, 'Good until 09:51:07 UTC, 10 minutes after it was made.'],
    ['exp', false, 'Good until 09:51:07 UTC, 10 minutes after it was made. That has passed.'],
    ['auth_time', undefined, 'When the person last proved who they are: 09:40:58 UTC.'],
    ['amr', undefined, 'How they proved it: a password, face, toString.'],
    ['iss', true, 'Who made this token. It matches the address that was asked.'],
    ['iss', false, 'Who made this token. It isn’t the address that was asked.'],
    ['email', undefined, 'Here because the person allowed “email”.'],
    ['constructor', undefined, 'Something this server adds.'],
    ['x', false, 'Something this server adds. It isn’t what it has to be, so the token must not be used.'],
  ])('%s, %s', (name, ok, words) => {
    expect(explainClaim(name, { exp: iat + 600, iat, auth_time: iat - 9, amr: ['pwd', 'face', 'toString'] }, ok)).toBe(
      words,
    );
  });

  test('says so when a time is none', () => {
    for (const exp of ['x', undefined, 1e300, Number.NaN]) {
      expect(explainClaim('exp', { exp }, undefined)).toBe('Good until no readable time.');
    }
  });
});

import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { decodeJwt, verifyJwtSignature } from '../../src/keys/verify-jwt.ts';

async function issuer(alg: string, kid: string) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  const sign = (claims: Record<string, unknown>, header = {}) =>
    new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(privateKey);
  return { jwk, sign };
}

test.each(['RS256', 'ES256', 'EdDSA'])(
  'a %s signature verifies against the published keys, and no others',
  async (alg) => {
    const [own, other] = await Promise.all([issuer(alg, 'own'), issuer(alg, 'other')]);
    const token = await own.sign({ sub: 'u_1' });
    const jwks = { keys: [other.jwk, own.jwk] };
    expect(await verifyJwtSignature(token, jwks)).toEqual({ valid: true, alg, kid: 'own' });
    expect(await verifyJwtSignature(token, { keys: [other.jwk] })).toEqual({ valid: false, reason: 'unknown-key' });
    const posing = { ...other.jwk, kid: 'own' };
    expect(await verifyJwtSignature(token, { keys: [posing] })).toEqual({ valid: false, reason: 'wrong-signature' });
  },
);

test('one changed character is noticed', async () => {
  const { jwk, sign } = await issuer('ES256', 'own');
  const [header, , signature] = (await sign({ sub: 'u_1' })).split('.');
  const claims = Buffer.from(JSON.stringify({ sub: 'u_2' })).toString('base64url');
  const forged = `${header}.${claims}.${signature}`;
  expect(await verifyJwtSignature(forged, { keys: [jwk] })).toEqual({ valid: false, reason: 'wrong-signature' });
});

test('neither "none" nor an HMAC under a public key is a signature (RFC 8725 §3.1)', async () => {
  const { jwk } = await issuer('RS256', 'own');
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  for (const alg of ['none', 'HS256']) {
    const token = `${part({ alg, kid: 'own' })}.${part({ sub: 'u_1' })}.AAAA`;
    expect(await verifyJwtSignature(token, { keys: [jwk] })).toMatchObject({ valid: false });
  }
});

test.each([undefined, null, 'keys', {}, { keys: 'x' }, { keys: [] }, { keys: [null] }])(
  'with %j for keys nothing verifies',
  async (jwks) => {
    const { sign } = await issuer('ES256', 'own');
    expect(await verifyJwtSignature(await sign({}), jwks)).toMatchObject({ valid: false });
  },
);

test.each(['', 'a', 'a.b.c', 'e30', 'e30.e30', 'e30.e30.e30.e30', 'bnVsbA.e30.', 'W10.e30.'])(
  '%j is no token and breaks nothing',
  async (token) => {
    expect(decodeJwt(token)).toBeUndefined();
    expect(await verifyJwtSignature(token, { keys: [] })).toMatchObject({ valid: false });
  },
);

test('what a token says can be read without its key', async () => {
  const { sign } = await issuer('ES256', 'own');
  expect(decodeJwt(await sign({ sub: 'u_1' }))).toEqual({
    header: { alg: 'ES256', kid: 'own' },
    claims: { sub: 'u_1' },
  });
});

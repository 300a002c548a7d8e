/** A JWT is believed for its signature by a key known beforehand, never for what its own header says (SECURITY 44). */
import { createHmac, randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { endServer, listen } from '../support/listen.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  authorizationUrl,
  issueCode,
  issueTokens,
  post,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  type Tokens,
  userinfoStatus,
} from './protocol.ts';

type Keys = { privateKey: CryptoKey; jwk: JWK; pem: string };

let app: TestApp;
let own: Keys;
let attacker: Keys;
let client: Registration;
/** Where an attacker's keys could be fetched from, if anybody fell for it. */
let lure: Server;
let lureUrl: string;
let lured = 0;

beforeAll(async () => {
  app = await startApp();
  own = await makeKeys('ES256', 'own-key');
  attacker = await makeKeys('ES256', 'attackers-key');
  lure = createServer((_req, res) => {
    lured += 1;
    res.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [attacker.jwk] }));
  });
  lureUrl = `http://127.0.0.1:${await listen(lure)}/jwks`;
  client = await registerClient(app, {
    redirect_uris: undefined,
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [own.jwk] },
  });
});
afterAll(async () => {
  await app.close();
  await endServer(lure);
});

async function makeKeys(alg: string, kid: string): Promise<Keys> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return {
    privateKey,
    jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' },
    pem: await exportSPKI(publicKey),
  };
}

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function signed(payload: object, header: object, key: CryptoKey): Promise<string> {
  return new SignJWT({ ...payload }).setProtectedHeader({ alg: 'ES256', ...header }).sign(key);
}

/** Signed with a public key's text, as a confused verifier would check it. */
function hmacSigned(payload: object, header: object, secret: string): string {
  const input = `${base64url({ alg: 'HS256', ...header })}.${base64url(payload)}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
}

function unsigned(payload: object, alg: string): string {
  return `${base64url({ alg })}.${base64url(payload)}.`;
}

function withPayload(token: string, payload: object): string {
  const [header, , signature] = token.split('.');
  return [header, base64url(payload), signature].join('.');
}

/** The same forgeries for whatever a verifier expects to be told in `payload`, signed by the owner of `genuine`. */
function forgeries(payload: object, genuine: () => Keys, genuineToken: () => Promise<string> | string) {
  const header = () => ({ kid: genuine().jwk.kid });
  const forged = (extra: object) => signed(payload, { ...header(), ...extra }, attacker.privateKey);
  const list: [string, () => Promise<string> | string][] = [
    ['without a signature', () => unsigned(payload, 'none')],
    ['without a signature, in another case', () => unsigned(payload, 'nOnE')],
    ['with its signature cut off', async () => (await genuineToken()).replace(/[^.]+$/, '')],
    ['with its payload changed', async () => withPayload(await genuineToken(), { ...payload, changed: true })],
    ['by HMAC with the public key’s JWK', () => hmacSigned(payload, header(), JSON.stringify(genuine().jwk))],
    ['by HMAC with the public key’s PEM', () => hmacSigned(payload, header(), genuine().pem)],
    ['by HMAC with an empty key', () => hmacSigned(payload, header(), '')],
    ['by another key under the right kid', () => forged({})],
    ['by another key that the header brings (jwk)', () => forged({ jwk: attacker.jwk })],
    ['by another key that the header points to (jku)', () => forged({ jku: lureUrl, kid: attacker.jwk.kid })],
    ['by another key that the header points to (x5u)', () => forged({ x5u: lureUrl })],
    ['by another key in a certificate (x5c)', () => forged({ x5c: ['AAAA'] })],
    ['with a kid that is a path', () => forged({ kid: '../../../../dev/null' })],
    ['with a kid that is SQL', () => forged({ kid: "' or '1'='1" })],
    ['with a kid that is an address', () => forged({ kid: lureUrl })],
  ];
  return list;
}

const claims = () => ({
  iss: client.client_id,
  sub: client.client_id,
  aud: app.issuer,
  jti: randomUUID(),
  exp: Math.floor(Date.now() / 1000) + 60,
});

function withAssertion(assertion: string) {
  return post(app, 'token', {
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
  });
}

describe('a client assertion', () => {
  test('signed with the registered key is accepted, once', async () => {
    const assertion = await signed(claims(), { kid: own.jwk.kid }, own.privateKey);
    expect((await withAssertion(assertion)).status).toBe(200);
    expect((await withAssertion(assertion)).body.error).toBe('invalid_client');
  });

  const kinds = forgeries(
    {},
    () => own,
    () => '',
  ).map(([kind]) => kind);

  test.each(kinds)('%s is refused', async (kind) => {
    const payload = claims();
    const genuine = () => signed(payload, { kid: own.jwk.kid }, own.privateKey);
    const forge = new Map(forgeries(payload, () => own, genuine)).get(kind);
    const { status, body } = await withAssertion((await forge?.()) ?? '');
    expect([status, body.error]).toEqual([401, 'invalid_client']);
    expect(lured).toBe(0);
  });

  test('of another client is refused for this one', async () => {
    const { privateKey } = attacker;
    const other = await registerClient(app, {
      redirect_uris: undefined,
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [attacker.jwk] },
    });
    const mixed = [
      { ...claims(), iss: other.client_id },
      { ...claims(), sub: other.client_id },
      { ...claims(), iss: client.client_id, sub: client.client_id },
    ];
    for (const payload of mixed) {
      const { body } = await withAssertion(await signed(payload, { kid: attacker.jwk.kid }, privateKey));
      expect(body.error).toBe('invalid_client');
    }
  });
});

describe('an id_token_hint', () => {
  let signedIn: SignedIn;
  let webClient: Registration;
  let hint: string;
  let serverKeys: Keys;

  beforeAll(async () => {
    signedIn = await signedInPerson(app);
    webClient = await registerClient(app);
    hint = (await issueTokens(app, webClient, signedIn, {})).id_token;
    const { keys } = (await (await fetch(`${app.issuer}/jwks`)).json()) as { keys: JWK[] };
    const jwk = keys.find(({ kty }) => kty === 'RSA') ?? {};
    const key = (await importJWK(jwk, 'RS256', { extractable: true })) as CryptoKey;
    serverKeys = { privateKey: attacker.privateKey, jwk, pem: await exportSPKI(key) };
  });

  /** A silent request, which answers with a code when the hint is believed. */
  async function silently(id_token_hint: string): Promise<URLSearchParams> {
    const url = authorizationUrl(app, webClient, { prompt: 'none', id_token_hint });
    const response = await signedIn.person.request(url);
    return new URL(response.headers.get('location') ?? '').searchParams;
  }

  test('that is genuine is believed', async () => {
    expect((await silently(hint)).get('code')).toBeTruthy();
  });

  const kinds = forgeries(
    {},
    () => own,
    () => '',
  ).map(([kind]) => kind);

  test.each(kinds)('%s is refused', async (kind) => {
    const payload = JSON.parse(Buffer.from(hint.split('.')[1] ?? '', 'base64url').toString()) as object;
    const forge = new Map(
      forgeries(
        payload,
        () => serverKeys,
        () => hint,
      ),
    ).get(kind);
    const answer = await silently((await forge?.()) ?? '');
    expect([answer.get('error'), answer.get('code')]).toEqual(['invalid_request', null]);
    expect(lured).toBe(0);
  });

  test('for another client is refused', async () => {
    const other = await registerClient(app);
    const { id_token } = await issueTokens(app, other, signedIn, {});
    expect((await silently(id_token)).get('error')).toBe('invalid_request');
  });
});

describe('a token of one kind is not accepted as another', () => {
  let webClient: Registration;
  let tokens: Tokens;
  let code: string;

  beforeAll(async () => {
    const signedIn = await signedInPerson(app);
    webClient = await registerClient(app);
    tokens = await issueTokens(app, webClient, signedIn);
    code = (await issueCode(app, webClient, signedIn)).code;
  });

  test('at userinfo: only access tokens', async () => {
    for (const token of [tokens.id_token, tokens.refresh_token, code, webClient.registration_access_token]) {
      expect(await userinfoStatus(app, token)).toBe(401);
    }
    expect(await userinfoStatus(app, tokens.access_token)).toBe(200);
  });

  test('at the token endpoint: only refresh tokens and codes', async () => {
    for (const token of [tokens.id_token, tokens.access_token, code]) {
      expect((await refresh(app, webClient, token)).body.error).toBe('invalid_grant');
    }
    for (const token of [tokens.id_token, tokens.access_token, tokens.refresh_token]) {
      const issued = { code: token, verifier: undefined, redirectUri: `${app.origin}/callback` };
      const { body } = await redeem(app, webClient, { ...issued, callback: new URL(app.origin) });
      expect(body.error).toBe('invalid_grant');
    }
  });

  test('at introspection: no ID token, no code', async () => {
    const idToken = await post(app, 'introspection', { token: tokens.id_token }, webClient);
    expect([idToken.status, idToken.body.error]).toEqual([400, 'unsupported_token_type']);
    expect((await post(app, 'introspection', { token: code }, webClient)).body).toEqual({ active: false });
  });

  test('as id_token_hint: only ID tokens', async () => {
    for (const token of [tokens.access_token, tokens.refresh_token, code]) {
      const response = await fetch(`${app.issuer}/session/end?${new URLSearchParams({ id_token_hint: token })}`);
      expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([400, 'invalid_request']);
    }
  });
});

/** What a relying party must find before it believes an answer: RFC 6749, RFC 9207 and OIDC Core, step by step. */
import { createHash } from 'node:crypto';
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose';
import { expect } from 'vitest';
import type { AuthorizationAnswer, AuthorizationRequest, Suite } from './harness.ts';
import { type Answer, send } from './http.ts';

/** Asserts a successful response to `request`: its code, the state it sent (or none), the issuer (RFC 9207). */
export function expectCode(
  suite: Suite,
  request: AuthorizationRequest,
  { page, response }: AuthorizationAnswer,
): string {
  expect(response, `no response: ${page.status} ${page.html.slice(0, 800)}`).toBeDefined();
  expect(response?.error, response?.error_description).toBeUndefined();
  expect(response).toMatchObject({ code: expect.stringMatching(/^[\x20-\x7e]+$/), iss: suite.issuer });
  expect(response?.state).toBe(request.parameters.state);
  return response?.code ?? '';
}

/** Asserts an error response to `request` with one of the codes. */
export function expectError(
  suite: Suite,
  request: AuthorizationRequest,
  { page, response }: AuthorizationAnswer,
  codes: string[],
): void {
  expect(response, `no response: ${page.status} ${page.html.slice(0, 800)}`).toBeDefined();
  expect(codes).toContain(response?.error);
  expect(response).toMatchObject({ iss: suite.issuer });
  expect(response?.state).toBe(request.parameters.state);
  expect(response?.code).toBeUndefined();
}

/** Asserts that the browser stayed on an error page of the provider. */
export function expectErrorPage({ page, response }: AuthorizationAnswer): void {
  expect([page.left?.href, response]).toEqual([undefined, undefined]);
  expect(page.status).toBe(400);
  expect(page.headers.get('content-type')).toMatch(/^text\/html/);
}

export type Tokens = { access_token: string; token_type: string; id_token: string; refresh_token?: string };

/** RFC 6749 §5.1 and OIDC Core §3.1.3.3. */
export function expectTokens({ status, headers, text, json }: Answer, tokenType = 'bearer'): Tokens {
  expect(status, text).toBe(200);
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  expect(headers.get('cache-control')).toContain('no-store');
  expect(json).toMatchObject({
    access_token: expect.stringMatching(/^[\x20-\x7e]{16,}$/),
    expires_in: expect.any(Number),
  });
  expect(String(json.token_type).toLowerCase()).toBe(tokenType);
  return json as Tokens;
}

/** RFC 6749 §5.2: an error of the token endpoint or one like it. */
export function expectRefused({ status, headers, text, json }: Answer, codes: string[], statuses = [400]): void {
  expect(statuses, text).toContain(status);
  expect(codes, text).toContain(json.error);
  expect(headers.get('cache-control')).toContain('no-store');
  expect(json.access_token).toBeUndefined();
}

/** The provider's keys as anyone reads them: public, each with a `kid` of its own. */
export async function readKeys(
  { metadata }: { metadata: { jwks_uri: string } },
  ask: (address: string) => Promise<Answer> = send,
): Promise<JSONWebKeySet> {
  const { status, json } = await ask(metadata.jwks_uri);
  expect(status).toBe(200);
  const { keys } = json as unknown as JSONWebKeySet;
  const kids = keys.map(({ kid }) => kid);
  expect(kids.every((kid) => typeof kid === 'string' && kid !== '')).toBe(true);
  expect(new Set(kids).size, 'distinct kids').toBe(keys.length);
  for (const key of keys) {
    for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']) expect(key).not.toHaveProperty(secret);
  }
  return { keys };
}

/** OIDC Core §3.1.3.7 and §3.1.3.6, each step; answers the claims. */
export async function verifyIdToken(
  suite: Suite,
  request: AuthorizationRequest,
  tokens: Pick<Tokens, 'id_token' | 'access_token'>,
  options: { alg?: string; now?: Date } = {},
): Promise<JWTPayload & Record<string, unknown>> {
  const { alg = String(request.client.id_token_signed_response_alg ?? 'RS256'), now = new Date() } = options;
  const keys = await readKeys(suite);
  const header = decodeProtectedHeader(tokens.id_token);
  expect(header).toMatchObject({ alg, kid: expect.any(String) });
  expect(keys.keys.map(({ kid }) => kid)).toContain(header.kid);
  const { payload } = await jwtVerify(tokens.id_token, createLocalJWKSet(keys), {
    algorithms: [alg],
    issuer: suite.issuer,
    audience: request.client.client_id,
    requiredClaims: ['sub', 'exp', 'iat'],
    currentDate: now,
    clockTolerance: 5,
  });
  const audience = [payload.aud].flat();
  if (audience.length > 1 || payload.azp !== undefined) expect(payload.azp).toBe(request.client.client_id);
  expect(payload.sub).toMatch(/^[\x20-\x7e]{1,255}$/);
  expect(payload.nonce).toBe(request.parameters.nonce);
  expect(Math.abs((payload.iat as number) - now.getTime() / 1000)).toBeLessThan(300);
  if (payload.auth_time !== undefined) expect(payload.auth_time).toBeLessThanOrEqual(payload.iat as number);
  if (payload.at_hash !== undefined) expect(payload.at_hash).toBe(leftHalf(alg, tokens.access_token));
  return payload;
}

/** OIDC Core §3.1.3.6: the left half of the hash that belongs to the signature's algorithm. */
function leftHalf(alg: string, value: string): string {
  const hash = createHash(alg === 'EdDSA' || alg === 'Ed25519' ? 'sha512' : `sha${alg.slice(-3)}`)
    .update(value)
    .digest();
  return hash.subarray(0, hash.length / 2).toString('base64url');
}

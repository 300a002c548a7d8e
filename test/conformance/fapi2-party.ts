/**
 * The relying party of the FAPI 2.0 plans, in the suite's variants: how it authenticates, what its tokens are bound to,
 * and whether it signs its requests and expects signed responses.
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, exportJWK, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { expect } from 'vitest';
import { ath, createProofKey, type ProofKey } from '../support/dpop.ts';
import type { Person } from '../support/person.ts';
import { createCertificate, type Holder } from '../support/x509.ts';
import { expectCode, expectTokens, readKeys, verifyIdToken } from './expectations.ts';
import {
  type AuthorizationAnswer,
  type AuthorizationRequest,
  authorize,
  newPkceRequest,
  register,
  type Suite,
  startSuite,
} from './harness.ts';
import { type Answer, type Client, type Fields, post, send } from './http.ts';

export type Variant = {
  clientAuth: 'private_key_jwt' | 'mtls';
  senderConstrain: 'dpop' | 'mtls';
  /** JAR and JARM, as Message Signing has them. */
  messageSigning: boolean;
};

export type FapiSuite = Suite & { variant: Variant; authority: Holder };

export type Party = {
  client: Client;
  /** A client assertion (RFC 7523); `claims` and `header` replace what it says. */
  assert(claims?: JWTPayload, header?: Record<string, unknown>): Promise<string>;
  /** Any JWT signed with the client's key. */
  sign(claims: JWTPayload, header?: Record<string, unknown>): Promise<string>;
  proofKey: ProofKey;
  certificate: Holder;
};

const certificateHeader = 'x-client-certificate';

/** The application behind a proxy that ends TLS, which here is the suite itself. */
export async function startFapiSuite(variant: Variant): Promise<FapiSuite> {
  const authority = createCertificate({ subject: [['O', 'Suite authority']], ca: true });
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-fapi-'));
  const MTLS_CA_FILE = join(folder, 'authorities.pem');
  await writeFile(MTLS_CA_FILE, authority.pem);
  const env = { TRUST_PROXY: 'loopback', MTLS_CERT_HEADER: certificateHeader, MTLS_CA_FILE };
  const suite = await startSuite({ env });
  await rm(folder, { recursive: true });
  return { ...suite, variant, authority };
}

const ecKeys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
export const rsaKeys = () => generateKeyPairSync('rsa', { modulusLength: 2048 });

/** A client of the variant. It signs with ES256, or with PS256 when it has RSA keys. */
export async function newParty(
  suite: FapiSuite,
  metadata: Record<string, unknown> = {},
  makeKeys: typeof ecKeys | typeof rsaKeys = ecKeys,
): Promise<Party> {
  const { clientAuth, senderConstrain, messageSigning } = suite.variant;
  const { privateKey, publicKey } = makeKeys();
  const alg = privateKey.asymmetricKeyType === 'rsa' ? 'PS256' : 'ES256';
  const kid = randomUUID();
  const certificate = createCertificate({
    subject: [
      ['O', 'Suite'],
      ['CN', kid],
    ],
    issuer: suite.authority,
    purpose: 'client',
  });
  const sign = (claims: JWTPayload, header: Record<string, unknown> = {}) =>
    new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(privateKey);
  const client = await register(suite, {
    fapi_profile: messageSigning ? '2.0_message_signing' : '2.0_security',
    jwks: { keys: [{ ...(await exportJWK(publicKey)), kid, use: 'sig' }] },
    ...(clientAuth === 'mtls' && {
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: `CN=${kid},O=Suite`,
    }),
    ...(senderConstrain === 'mtls' && { tls_client_certificate_bound_access_tokens: true }),
    ...metadata,
  });
  const party: Party = {
    client,
    sign,
    assert: assertOf(suite, client, sign),
    proofKey: await createProofKey(),
    certificate,
  };
  client.authenticate = ({ body, headers }) => authenticateAs(suite, party, body, headers);
  return party;
}

function assertOf(suite: Suite, { client_id }: Client, sign: Party['sign']): Party['assert'] {
  return (claims = {}, header = {}) => {
    const now = epoch();
    const said = { iss: client_id, sub: client_id, aud: suite.issuer, jti: randomUUID(), iat: now, exp: now + 60 };
    return sign({ ...said, ...claims }, header);
  };
}

/** Authenticates a request as the variant's clients do, with an assertion of one's own if need be. */
export async function authenticateAs(
  { variant }: FapiSuite,
  party: Party,
  body: URLSearchParams,
  headers: Headers,
  assertion?: string,
): Promise<void> {
  if (variant.clientAuth === 'mtls' || variant.senderConstrain === 'mtls') {
    headers.set(certificateHeader, encodeURIComponent(party.certificate.pem));
  }
  if (variant.clientAuth === 'mtls') return body.set('client_id', party.client.client_id);
  body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
  body.set('client_assertion', assertion ?? (await party.assert()));
}

/** The party with another way to authenticate, for one request. */
export function withAssertion(suite: FapiSuite, party: Party, assertion: string): Party {
  const authenticate: Client['authenticate'] = ({ body, headers }) =>
    authenticateAs(suite, party, body, headers, assertion);
  return { ...party, client: { ...party.client, authenticate } };
}

export function epoch(): number {
  return Math.floor(Date.now() / 1000);
}

export function newFapiRequest({ variant }: FapiSuite, { client }: Party, changes: Fields = {}): AuthorizationRequest {
  return newPkceRequest(client, { ...(variant.messageSigning && { response_mode: 'jwt' }), ...changes });
}

/** RFC 9101 with the claims of FAPI 2.0 Message Signing §5.3.1; `claims` replace or, undefined, remove some. */
export function requestObject(
  suite: Suite,
  party: Party,
  { parameters }: AuthorizationRequest,
  claims: JWTPayload = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const now = epoch();
  const said = { ...parameters, iss: party.client.client_id, aud: suite.issuer, iat: now, nbf: now, exp: now + 300 };
  return party.sign({ ...said, ...claims }, { typ: 'oauth-authz-req+jwt', ...header });
}

/** RFC 9126: pushes a request as the variant does; `changes` come beside it, `headers` with it. */
export async function push(
  suite: FapiSuite,
  party: Party,
  request: AuthorizationRequest,
  changes: Fields = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  const parameters = suite.variant.messageSigning
    ? { request: await requestObject(suite, party, request), client_id: party.client.client_id }
    : request.parameters;
  return post(
    suite.metadata.pushed_authorization_request_endpoint,
    { ...parameters, ...changes },
    party.client,
    headers,
  );
}

/** The reference to a pushed request. */
export function expectPushed({ status, json, text }: Answer): string {
  expect(status, text).toBe(201);
  expect(json).toEqual({ request_uri: expect.stringMatching(/^urn:/), expires_in: expect.any(Number) });
  expect(json.expires_in).toBeGreaterThanOrEqual(5);
  expect(json.expires_in).toBeLessThan(600);
  return String(json.request_uri);
}

/** Sends the browser there with nothing but the reference; `changes` come beside it. */
export function open(
  suite: FapiSuite,
  party: Party,
  request_uri: string,
  options: { person?: Person; changes?: Record<string, string>; answer?: Parameters<typeof authorize>[2] } = {},
): Promise<AuthorizationAnswer> {
  const { person, changes, answer } = options;
  const parameters = { client_id: party.client.client_id, request_uri, ...changes };
  return authorize(suite, parameters, { ...(person && { person }), ...answer });
}

/** The response, taken out of its JWT in the variant that has one (JARM §4.4). */
export async function readResponse(
  suite: FapiSuite,
  party: Party,
  answer: AuthorizationAnswer,
): Promise<AuthorizationAnswer> {
  const { response } = answer;
  if (!suite.variant.messageSigning || !response) return answer;
  expect(Object.keys(response), JSON.stringify(response)).toEqual(['response']);
  const { payload } = await jwtVerify(response.response ?? '', createLocalJWKSet(await readKeys(suite)), {
    algorithms: ['ES256'],
    issuer: suite.issuer,
    audience: party.client.client_id,
    requiredClaims: ['exp'],
  });
  const { aud, exp, ...parameters } = payload;
  return { ...answer, response: parameters as Record<string, string> };
}

/** A proof for a request, and for the access token that comes with it. Nothing where certificates take its place. */
export async function proofFor(
  { variant }: FapiSuite,
  { proofKey }: Party,
  url: string,
  claims: Record<string, unknown> = {},
): Promise<Record<string, string>> {
  return variant.senderConstrain === 'dpop' ? { dpop: await proofKey.prove(url, claims) } : {};
}

/** Redeems a code; `changes` replace parameters, `headers` the proof. */
export async function exchange(
  suite: FapiSuite,
  party: Party,
  request: AuthorizationRequest,
  code: string,
  changes: Fields = {},
  headers?: Record<string, string>,
): Promise<Answer> {
  const url = suite.metadata.token_endpoint;
  const parameters = {
    grant_type: 'authorization_code',
    code,
    redirect_uri: request.parameters.redirect_uri,
    code_verifier: request.verifier,
    ...changes,
  };
  return post(url, parameters, party.client, headers ?? (await proofFor(suite, party, url)));
}

/** Userinfo, which is the plan's protected resource. */
export async function callResource(
  suite: FapiSuite,
  party: Party,
  accessToken: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const url = suite.metadata.userinfo_endpoint;
  const { senderConstrain } = suite.variant;
  const proof = await proofFor(suite, party, url, { htm: 'GET', ath: ath(accessToken) });
  const bound = senderConstrain === 'mtls' && { [certificateHeader]: encodeURIComponent(party.certificate.pem) };
  const scheme = senderConstrain === 'dpop' ? 'DPoP' : 'Bearer';
  return send(url, { headers: { authorization: `${scheme} ${accessToken}`, ...proof, ...bound, ...headers } });
}

export function expectBoundTokens({ variant }: FapiSuite, answer: Answer) {
  return expectTokens(answer, variant.senderConstrain === 'dpop' ? 'dpop' : 'bearer');
}

/** Everything from the pushed request to the response, for a person who allows what is asked. */
export async function obtainCode(
  suite: FapiSuite,
  party: Party,
  options: {
    request?: AuthorizationRequest;
    person?: Person;
    changes?: Record<string, string>;
    pushHeaders?: Record<string, string>;
  } = {},
) {
  const { request = newFapiRequest(suite, party), pushHeaders, ...onward } = options;
  const requestUri = expectPushed(await push(suite, party, request, {}, pushHeaders));
  const answer = await readResponse(suite, party, await open(suite, party, requestUri, onward));
  return { request, requestUri, answer, code: expectCode(suite, request, answer) };
}

/** A whole sign-in, down to the claims for the bound token. */
export async function complete(suite: FapiSuite, party: Party, options: Parameters<typeof obtainCode>[2] = {}) {
  const obtained = await obtainCode(suite, party, options);
  const tokens = expectBoundTokens(suite, await exchange(suite, party, obtained.request, obtained.code));
  const claims = await verifyIdToken(suite, obtained.request, tokens);
  const resource = await callResource(suite, party, tokens.access_token);
  expect([resource.status, resource.json.sub]).toEqual([200, claims.sub]);
  return { ...obtained, tokens, claims, resource };
}

/** Mutual TLS behind a trusted proxy (RFC 8705): who authenticates with which certificate, and what tokens are bound to. */
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { advance, basic, issueCode, post, redeem, type SignedIn, signedInPerson } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { assertionClaims, assertionType, createClientKeys, signWith } from '../support/client-keys.ts';
import { createProofKey } from '../support/dpop.ts';
import { fromElsewhere } from '../support/person.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import { base64Of, createCertificate, type Holder } from '../support/x509.ts';

const header = 'x-client-cert';
const mtlsOrigin = 'https://mtls.example';
const dayMs = 86_400_000;

let app: TestApp;
/** The same provider, which takes its visitors for no proxy. */
let exposed: TestApp;
let authority: Holder;
let holder: Holder;
let signedIn: SignedIn;

const names = {
  dns: 'service.bank.example',
  uri: 'https://bank.example/service',
  email: 'service@bank.example',
  ip: '192.0.2.7',
};
const subject = [
  ['C', 'GB'],
  ['O', 'Bank, Inc.'],
  ['organizationIdentifier', 'PSDGB-FCA-1'],
  ['CN', 'service'],
] as const;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-mtls-'));
  const MTLS_CA_FILE = join(folder, 'authorities.pem');
  authority = createCertificate({ subject: [['O', 'Authority']], ca: true });
  holder = createCertificate({ subject, issuer: authority, names, purpose: 'client' });
  const other = createCertificate({ subject: [['O', 'Second authority']], ca: true });
  await writeFile(MTLS_CA_FILE, `# two of them\n${other.pem}${authority.pem}`);
  const env = { MTLS_CERT_HEADER: header, MTLS_CA_FILE, MTLS_ORIGIN: mtlsOrigin };
  app = await startApp({ env: { ...env, TRUST_PROXY: 'loopback' } });
  exposed = await startApp({
    database: { url: app.databaseUrl },
    env: { ...env, TRUST_PROXY: '192.0.2.1', OIDC_ISSUER: app.origin },
  });
  signedIn = await signedInPerson(app);
  await rm(folder, { recursive: true });
});
afterAll(async () => {
  await exposed.close();
  await app.close();
});
afterEach(() => {
  vi.useRealTimers();
});

function registerService(metadata: Record<string, unknown>): Promise<Registration> {
  const service = { redirect_uris: undefined, grant_types: ['client_credentials'], ...metadata };
  return registerClient(app, service, fromElsewhere());
}

const byName = (name: Record<string, string>) =>
  registerService({ token_endpoint_auth_method: 'tls_client_auth', ...name });
const shown = (certificate: Holder) => encodeURIComponent(certificate.pem);

/** A token request with the header as a proxy would set it. */
function ask({ client_id }: Registration, certificate: string | undefined, server = app) {
  const address = { issuer: `http://127.0.0.1:${server.port}/oidc` };
  const headers: Record<string, string> = certificate === undefined ? {} : { [header]: certificate };
  return post(address, 'token', { grant_type: 'client_credentials', client_id }, undefined, headers);
}

async function expectRefused(...[client, certificate, server]: Parameters<typeof ask>): Promise<void> {
  const { status, body } = await ask(client, certificate, server);
  expect([status, body.error]).toEqual([401, 'invalid_client']);
}

describe('tls_client_auth: a certificate of a known authority, by one of its names', () => {
  const good: [string, Record<string, string>][] = [
    ['the whole subject', { tls_client_auth_subject_dn: 'CN=service,2.5.4.97=PSDGB-FCA-1,O=Bank\\, Inc.,C=GB' }],
    [
      'the subject written otherwise',
      { tls_client_auth_subject_dn: 'cn=service, organizationIdentifier=PSDGB-FCA-1, o=Bank\\2C Inc., c=GB' },
    ],
    ['a host', { tls_client_auth_san_dns: names.dns }],
    ['an address', { tls_client_auth_san_ip: names.ip }],
    ['a URI', { tls_client_auth_san_uri: names.uri }],
    ['a mailbox', { tls_client_auth_san_email: names.email }],
  ];
  test.each(good)('%s', async (_what, name) => {
    expect((await ask(await byName(name), shown(holder))).status).toBe(200);
  });

  const wrong: [string, Record<string, string>][] = [
    ['part of the subject', { tls_client_auth_subject_dn: 'CN=service' }],
    [
      'the subject the other way round',
      { tls_client_auth_subject_dn: 'C=GB,O=Bank\\, Inc.,2.5.4.97=PSDGB-FCA-1,CN=service' },
    ],
    ['another subject', { tls_client_auth_subject_dn: 'CN=service,2.5.4.97=PSDGB-FCA-1,O=Bank,C=GB' }],
    ['another host', { tls_client_auth_san_dns: 'other.bank.example' }],
    ['a wider host', { tls_client_auth_san_dns: '*.bank.example' }],
    ['the name of a person as a host', { tls_client_auth_san_dns: 'service' }],
    ['another address', { tls_client_auth_san_ip: '192.0.2.8' }],
    ['another URI', { tls_client_auth_san_uri: 'https://bank.example/service/' }],
    ['another mailbox', { tls_client_auth_san_email: 'other@bank.example' }],
  ];
  test.each(wrong)('%s does not do', async (_what, name) => {
    await expectRefused(await byName(name), shown(holder));
  });

  const others: [string, () => Holder][] = [
    [
      'of an unknown authority',
      () => createCertificate({ subject, issuer: createCertificate({ subject: authority.subject, ca: true }) }),
    ],
    ['that its holder signed', () => createCertificate({ subject })],
    ['issued by a client', () => createCertificate({ subject, issuer: holder })],
    [
      'that has expired',
      () => createCertificate({ subject, issuer: authority, notAfter: new Date(Date.now() - dayMs) }),
    ],
    ['for later', () => createCertificate({ subject, issuer: authority, notBefore: new Date(Date.now() + dayMs) })],
    ['of a server', () => createCertificate({ subject, issuer: authority, purpose: 'server' })],
  ];
  test.each(others)('a certificate %s does not do', async (_what, make) => {
    const client = await byName({ tls_client_auth_subject_dn: 'CN=service,2.5.4.97=PSDGB-FCA-1,O=Bank\\, Inc.,C=GB' });
    await expectRefused(client, shown(make()));
    expect((await ask(client, shown(holder))).status).toBe(200);
  });

  test('nor does one of an authority that has expired itself', async () => {
    const client = await byName({ tls_client_auth_san_dns: names.dns });
    const longLived = createCertificate({
      subject,
      issuer: authority,
      names,
      notAfter: new Date(Date.now() + 900 * dayMs),
    });
    expect((await ask(client, shown(longLived))).status).toBe(200);
    advance(400 * 24 * 3600);
    await expectRefused(client, shown(longLived));
  });

  test('a name that can never match is refused at registration', async () => {
    const bad: Record<string, unknown>[] = [
      { tls_client_auth_subject_dn: '/C=GB/CN=service' },
      { tls_client_auth_san_ip: 'localhost' },
      { tls_client_auth_san_dns: '.bank.example' },
      { tls_client_auth_san_uri: 'service' },
      { tls_client_auth_san_email: 'service' },
      {},
      { tls_client_auth_san_dns: names.dns, tls_client_auth_san_ip: names.ip },
    ];
    for (const name of bad) {
      const asked = registerService({ token_endpoint_auth_method: 'tls_client_auth', ...name });
      await expect(asked, JSON.stringify(name)).rejects.toThrow(/invalid_client_metadata/);
    }
  });
});

describe('self_signed_tls_client_auth: the very certificate that the client registered', () => {
  const registerSelfSigned = (certificate: Holder) =>
    registerService({
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [{ ...certificate.publicKey.export({ format: 'jwk' }), x5c: [base64Of(certificate)] }] },
    });

  test('does, and no other, not even one like it', async () => {
    const own = createCertificate({ subject });
    const client = await registerSelfSigned(own);
    expect((await ask(client, shown(own))).status).toBe(200);
    await expectRefused(client, shown(createCertificate({ subject })));
    await expectRefused(client, shown(holder));
    await expectRefused(client, undefined);
  });
});

describe('the proxy’s header', () => {
  let client: Registration;
  beforeAll(async () => {
    client = await byName({ tls_client_auth_san_dns: names.dns });
  });

  const forms: [string, () => string][] = [
    ['percent-encoded PEM, as nginx writes it', () => shown(holder)],
    ['base64 between colons (RFC 9440)', () => `:${base64Of(holder)}:`],
    ['bare base64, as HAProxy writes it', () => base64Of(holder)],
  ];
  test.each(forms)('is read as %s', async (_form, value) => {
    expect((await ask(client, value())).status).toBe(200);
  });

  const broken: [string, () => string | undefined][] = [
    ['missing', () => undefined],
    ['empty', () => ''],
    ['nothing of the kind', () => 'certificate'],
    ['cut off', () => shown(holder).slice(0, -200)],
    ['half percent-encoded', () => '%E0%A4%A'],
    ['there twice', () => `${shown(holder)}, ${shown(holder)}`],
  ];
  test.each(broken)('%s is no certificate, and no fault of ours', async (_what, value) => {
    await expectRefused(client, value());
  });

  test('is believed from the proxy only: anybody has the certificate, since it is public', async () => {
    await expectRefused(client, shown(holder), exposed);
    await expectRefused(client, `:${base64Of(holder)}:`, exposed);
  });
});

describe('tokens bound to a certificate', () => {
  test('say which, and work with it alone (§3)', async () => {
    const client = await registerClient(app, { tls_client_certificate_bound_access_tokens: true });
    const issued = await issueCode(app, client, signedIn);
    expect((await redeem(app, client, issued)).body.error).toBe('invalid_grant');
    const parameters = {
      grant_type: 'authorization_code',
      code: issued.code,
      redirect_uri: issued.redirectUri,
      code_verifier: issued.verifier,
    };
    const { body } = await post(app, 'token', parameters, client, { [header]: shown(holder) });
    const token = String(body.access_token);
    const userinfo = async (certificate?: Holder) =>
      (
        await fetch(`${app.issuer}/userinfo`, {
          headers: { authorization: `Bearer ${token}`, ...(certificate && { [header]: shown(certificate) }) },
        })
      ).status;
    expect([await userinfo(holder), await userinfo(), await userinfo(authority)]).toEqual([200, 401, 401]);
    const thumbprint = createHash('sha256').update(new X509Certificate(holder.pem).raw).digest('base64url');
    const facts = await post(app, 'introspection', { token }, client);
    expect(facts.body).toMatchObject({ active: true, token_type: 'Bearer', cnf: { 'x5t#S256': thumbprint } });
  });

  test('cannot be asked for together with DPoP', async () => {
    const both = { tls_client_certificate_bound_access_tokens: true, dpop_bound_access_tokens: true };
    await expect(registerClient(app, both)).rejects.toThrow(/only one proof of possession/);
  });
});

describe('the other origin, where certificates are shown (§5)', () => {
  type Sent = { status: number; body: Record<string, unknown> };

  /** A request that came to the other origin, as the proxy hands it on. */
  function sendThere(path: string, options: { body?: string; headers?: Record<string, string> } = {}): Promise<Sent> {
    const { body, headers = {} } = options;
    const type = body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' };
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        ...{ port: app.port, path, method: body === undefined ? 'GET' : 'POST' },
        headers: { host: 'mtls.example', ...type, ...headers },
      });
      request.on('error', reject).on('response', async (response) => {
        let text = '';
        for await (const chunk of response.setEncoding('utf8')) text += chunk;
        resolve({ status: response.statusCode ?? 0, body: text.startsWith('{') ? JSON.parse(text) : {} });
      });
      request.end(body);
    });
  }

  test('is named in discovery, with exactly the endpoints that clients call', async () => {
    const discovery = await fetch(`${app.issuer}/.well-known/openid-configuration`);
    const metadata = (await discovery.json()) as Record<string, unknown>;
    const aliases = metadata.mtls_endpoint_aliases as Record<string, string>;
    expect(Object.keys(aliases).length).toBeGreaterThanOrEqual(5);
    for (const [name, address] of Object.entries(aliases)) {
      expect(address).toBe(`${mtlsOrigin}${new URL(String(metadata[name])).pathname}`);
      const { status } = await sendThere(new URL(address).pathname, { body: '' });
      expect([address, [400, 401].includes(status)]).toEqual([address, true]);
    }
    expect(metadata).toMatchObject({
      tls_client_certificate_bound_access_tokens: true,
      token_endpoint_auth_methods_supported: expect.arrayContaining(['tls_client_auth', 'self_signed_tls_client_auth']),
    });
  });

  test('has no page, no sign-in and no metadata of its own', async () => {
    const paths = ['/', '/auth/login', '/oidc/auth?client_id=x', '/oidc/.well-known/openid-configuration', '/account'];
    for (const path of paths) expect([path, (await sendThere(path)).status]).toEqual([path, 404]);
  });

  test('takes assertions for it and proofs for its own addresses', async () => {
    const keys = await createClientKeys();
    const client = await registerService({ token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [keys.jwk] } });
    const proofKey = await createProofKey();
    const askFor = async (aud: string, htu: string) => {
      const client_assertion = await signWith(keys, { ...assertionClaims(client.client_id, app.issuer), aud });
      const parameters = { grant_type: 'client_credentials', client_assertion, client_assertion_type: assertionType };
      const body = new URLSearchParams(parameters).toString();
      return sendThere('/oidc/token', { body, headers: { dpop: await proofKey.prove(htu) } });
    };
    const there = `${mtlsOrigin}/oidc/token`;
    expect((await askFor(there, there)).body).toMatchObject({ token_type: 'DPoP' });
    expect((await askFor(app.issuer, there)).status).toBe(200);
    expect((await askFor(app.issuer, `${app.issuer}/token`)).body.error).toBe('invalid_dpop_proof');
  });

  test('authenticates by certificate', async () => {
    const client = await byName({ tls_client_auth_san_dns: names.dns });
    const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: client.client_id }).toString();
    const headers = { [header]: shown(holder) };
    expect((await sendThere('/oidc/token', { body, headers })).status).toBe(200);
    expect((await sendThere('/oidc/token', { body })).status).toBe(401);
  });
});

test('a client with a secret keeps using it, certificate or not', async () => {
  const client = await registerService({});
  const headers = { ...basic(client), [header]: shown(holder) };
  expect((await post(app, 'token', { grant_type: 'client_credentials' }, undefined, headers)).status).toBe(200);
  await expectRefused(client, shown(holder));
});

/** Tokens bound to a key are not exchanged away from it, and clients that bind theirs get bound ones (SECURITY 43). */
import { createHash, X509Certificate } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createExchangeApis, createExchanger, exchange, permit, stock } from '../apis/exchange.ts';
import { askForToken, invoices, verifyAt } from '../apis/fixture.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { ath, createProofKey, type ProofKey } from '../support/dpop.ts';
import type { Registration } from '../support/relying-party.ts';
import { createCertificate } from '../support/x509.ts';
import { type Answer, post } from './protocol.ts';

const certificateHeader = 'x-client-certificate';

let app: TestApp;
/** Calls invoices with tokens of its own, bound in different ways, … */
let caller: Registration;
/** … and this is what it calls. */
let service: Registration;
let key: ProofKey;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: 'loopback', MTLS_CERT_HEADER: certificateHeader } });
  await createExchangeApis(app);
  caller = await createExchanger(app, { [invoices]: ['read'] });
  service = await createExchanger(app, { [stock]: ['look'] });
  await permit(app, service, invoices, stock, 'impersonation');
  key = await createProofKey();
});
afterAll(() => app.close());

const url = () => `${app.issuer}/token`;

async function bearerToken(): Promise<string> {
  return String((await askForToken(app, caller, { resource: invoices })).body.access_token);
}

async function boundTo(headers: Record<string, string>): Promise<string> {
  const parameters = { grant_type: 'client_credentials', resource: invoices };
  const { status, body } = await post(app, 'token', parameters, caller, headers);
  expect(status, JSON.stringify(body)).toBe(200);
  return String(body.access_token);
}

function send(token: string, headers: Record<string, string> = {}, by = service): Promise<Answer> {
  return exchange(app, by, token, { resource: stock }, headers);
}

async function confirmation(answer: Answer): Promise<unknown> {
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return (await verifyAt(app, stock, answer.body.access_token)).payload.cnf;
}

async function expectRefused(answer: Answer, error: string): Promise<void> {
  expect([answer.status, answer.body.error], JSON.stringify(answer.body)).toEqual([400, error]);
  const { rows } = await app.database.db.execute(sql`select event, details from audit_events order by id desc limit 1`);
  expect(rows[0]).toMatchObject({ event: 'token.exchange-refused', details: { error } });
}

describe('DPoP', () => {
  test('a bound token is exchanged with a proof of its key only, and the new one is bound too', async () => {
    const token = await boundTo({ dpop: await key.prove(url()) });
    await expectRefused(await send(token), 'invalid_request');
    const thief = await createProofKey();
    await expectRefused(await send(token, { dpop: await thief.prove(url()) }), 'invalid_request');
    const answer = await send(token, { dpop: await key.prove(url()) });
    expect(answer.body.token_type).toBe('DPoP');
    expect(await confirmation(answer)).toEqual({ jkt: key.thumbprint });
  });

  test('a client may bind what it gets for a bearer token', async () => {
    const answer = await send(await bearerToken(), { dpop: await key.prove(url()) });
    expect(answer.body.token_type).toBe('DPoP');
    expect(await confirmation(answer)).toEqual({ jkt: key.thumbprint });
  });

  test('a client with dpop_bound_access_tokens must', async () => {
    const bound = await createExchanger(app, { [stock]: ['look'] }, { dpop_bound_access_tokens: true });
    await permit(app, bound, invoices, stock, 'impersonation');
    const token = await bearerToken();
    await expectRefused(await send(token, {}, bound), 'invalid_grant');
    const answer = await send(token, { dpop: await key.prove(url()) }, bound);
    expect(await confirmation(answer)).toEqual({ jkt: key.thumbprint });
  });

  test('a client with dpop_require_nonce is told that this is not for it', async () => {
    const strict = await createExchanger(app, { [stock]: ['look'] }, { dpop_require_nonce: true });
    await permit(app, strict, invoices, stock, 'impersonation');
    const token = await bearerToken();
    await expectRefused(await send(token, { dpop: await key.prove(url()) }, strict), 'invalid_request');
  });

  test('a proof works once, here and at the other grants', async () => {
    const token = await bearerToken();
    const proof = await key.prove(url());
    expect((await send(token, { dpop: proof })).status).toBe(200);
    await expectRefused(await send(token, { dpop: proof }), 'invalid_grant');
    const elsewhere = await post(app, 'token', { grant_type: 'client_credentials' }, service, { dpop: proof });
    expect([elsewhere.status, elsewhere.body.error]).toEqual([400, 'invalid_grant']);
  });

  test('of eight identical proofs at once one works', async () => {
    const token = await bearerToken();
    const proof = await key.prove(url());
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(token, { dpop: proof })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(400)]);
  });

  const now = () => Math.floor(Date.now() / 1000);
  const wrong: Record<string, () => Promise<string> | string> = {
    'is none': () => 'proof',
    'has no jti': () => key.prove(url(), { jti: undefined }),
    'is old': () => key.prove(url(), { iat: now() - 301 }),
    'comes from the future': () => key.prove(url(), { iat: now() + 120 }),
    'has no time': () => key.prove(url(), { iat: undefined }),
    'is for another method': () => key.prove(url(), { htm: 'GET' }),
    'is for another address': () => key.prove(`${app.issuer}/userinfo`),
    'is for no address': () => key.prove('token'),
    'is for another server': () => key.prove('https://other.example/oidc/token'),
    'has another type': () => key.prove(url(), {}, { typ: 'JWT' }),
    'is signed by another key': async () => {
      const other = await createProofKey();
      const [, payload, signature] = (await other.prove(url())).split('.');
      return [(await key.prove(url())).split('.')[0], payload, signature].join('.');
    },
    'has no key': () => key.prove(url(), {}, { jwk: undefined }),
    'has an algorithm that is not accepted': async () => {
      const [header = '', ...rest] = (await key.prove(url())).split('.');
      const said = JSON.parse(Buffer.from(header, 'base64url').toString());
      return [Buffer.from(JSON.stringify({ ...said, alg: 'none' })).toString('base64url'), ...rest].join('.');
    },
  };
  test.each(Object.keys(wrong))('a proof that %s is refused', async (what) => {
    const dpop = (await wrong[what]?.()) ?? '';
    await expectRefused(await send(await bearerToken(), { dpop }), 'invalid_dpop_proof');
  });

  test('a query in its address does no harm (RFC 9449 §4.3)', async () => {
    const dpop = await key.prove(`${url()}?a#b`, { ath: ath('of no use here') });
    expect((await send(await bearerToken(), { dpop })).status).toBe(200);
  });
});

describe('certificates (RFC 8705)', () => {
  const own = createCertificate({ subject: [['CN', 'service']] });
  const other = createCertificate({ subject: [['CN', 'other']] });
  const shown = (holder: typeof own) => ({ [certificateHeader]: encodeURIComponent(holder.pem) });
  const thumbprint = ({ pem }: typeof own) =>
    createHash('sha256').update(new X509Certificate(pem).raw).digest('base64url');

  async function bindTokensOf({ client_id }: Registration): Promise<void> {
    const setting = JSON.stringify({ tls_client_certificate_bound_access_tokens: true });
    await app.database.db.execute(
      sql`update oidc_clients set metadata = metadata || ${setting}::jsonb where client_id = ${client_id}`,
    );
  }

  test('a bound token is exchanged over a connection with its certificate only, and the new one is bound too', async () => {
    const bound = await createExchanger(app, { [invoices]: ['read'] });
    await bindTokensOf(bound);
    const parameters = { grant_type: 'client_credentials', resource: invoices };
    const { body } = await post(app, 'token', parameters, bound, shown(own));
    const token = String(body.access_token);
    await expectRefused(await send(token), 'invalid_request');
    await expectRefused(await send(token, shown(other)), 'invalid_request');
    expect(await confirmation(await send(token, shown(own)))).toEqual({ 'x5t#S256': thumbprint(own) });
  });

  test('a client whose tokens are bound must show one; others are not bound by the way', async () => {
    const bound = await createExchanger(app, { [stock]: ['look'] });
    await permit(app, bound, invoices, stock, 'impersonation');
    await bindTokensOf(bound);
    const token = await bearerToken();
    await expectRefused(await send(token, {}, bound), 'invalid_grant');
    expect(await confirmation(await send(token, shown(own), bound))).toEqual({ 'x5t#S256': thumbprint(own) });
    expect(await confirmation(await send(token, shown(own)))).toBeUndefined();
  });
});

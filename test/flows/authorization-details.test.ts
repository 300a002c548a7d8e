/** Rich authorization requests (RFC 9396): one payment is asked for, one payment is allowed. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApi } from '../../src/apis/apis.ts';
import {
  createAuthorizationDetailsType,
  deleteAuthorizationDetailsType,
} from '../../src/apis/authorization-details-types.ts';
import { allowApi } from '../../src/apis/client-access.ts';
import {
  authorizationUrl,
  issueCode,
  type Parameters,
  pkce,
  post,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
} from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { readCheckboxes } from '../support/person.ts';
import { allow, type Registration, registerClient } from '../support/relying-party.ts';

const bank = 'https://bank.example';
const ledger = 'https://ledger.example';
const payment = { type: 'payment', actions: ['initiate'], amount: '120.00 EUR', creditor: 'Fernwood' };

let app: TestApp;
let shop: Registration;
let person: SignedIn;

beforeAll(async () => {
  app = await startApp();
  const { db } = app.database;
  for (const identifier of [bank, ledger])
    await createApi(db, { identifier, name: 'Bank', scopes: { accounts: 'See your accounts' } });
  await createAuthorizationDetailsType(db, {
    type: 'payment',
    apiIdentifier: bank,
    title: 'Make a payment',
    actions: ['initiate', 'status'],
    fields: ['amount', 'creditor'],
  });
  await app.app.reload();
  shop = await registerClient(app, {
    authorization_details_types: ['payment'],
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
  });
  for (const identifier of [bank, ledger]) await allowApi(db, shop.client_id, identifier, { scopes: ['accounts'] });
  person = await signedInPerson(app);
});
afterAll(() => app.close());

function paymentUrl(details: unknown, changes: Parameters = {}): string {
  return authorizationUrl(app, shop, {
    scope: 'openid offline_access',
    prompt: 'consent',
    resource: bank,
    authorization_details: JSON.stringify(details),
    ...changes,
  });
}

/** Asks for `details`, has the person tick what `boxes` names, and redeems the code at the token endpoint. */
async function pay(details: unknown, { boxes, alsoFor, token = {} }: Choice = {}) {
  const { verifier, challenge } = pkce();
  const also = alsoFor ? `&${new URLSearchParams({ resource: alsoFor })}` : '';
  const page = await person.person.open(paymentUrl(details, { code_challenge: challenge }) + also);
  const answered = await (boxes
    ? person.person.submit(page, 'consent', { scope: ['openid'], detail: boxes }, 'consent-approve')
    : allow(person.person, page));
  const code = answered.left?.searchParams.get('code') ?? '';
  const issued = {
    code,
    verifier,
    redirectUri: `${app.origin}/callback`,
    callback: answered.left ?? new URL(app.origin),
  };
  return { page, ...(await redeem(app, shop, issued, { resource: bank, ...token })) };
}

type Choice = { boxes?: string[]; alsoFor?: string; token?: Parameters };

async function refusal(details: unknown, changes: Parameters = {}): Promise<string | null> {
  const page = await person.person.open(paymentUrl(details, changes));
  return page.left?.searchParams.get('error') ?? null;
}

test('the person sees the payment with all that the app says of it, and the token carries just that', async () => {
  const { page, body } = await pay([payment]);
  expect(page.html).toContain('Make a payment');
  expect(page.html).toContain('actions: initiate, amount: 120.00 EUR, creditor: Fernwood');
  expect(body.authorization_details).toEqual([payment]);
  expect(decodeJwt(String(body.access_token))).toMatchObject({ aud: bank, authorization_details: [payment] });

  const renewed = await refresh(app, shop, String(body.refresh_token), { resource: bank });
  expect(decodeJwt(String(renewed.body.access_token))).toMatchObject({ authorization_details: [payment] });
});

test('what the person leaves out is not in the token, and the next request asks again', async () => {
  const second = { ...payment, amount: '5.00 EUR' };
  const { page, body } = await pay([payment, second], { boxes: ['1'] });
  expect(Object.keys(readCheckboxes(page.html, 'detail'))).toEqual(['0', '1']);
  expect(body.authorization_details).toEqual([second]);
  expect((await pay([payment], { boxes: [] })).body.authorization_details).toBeUndefined();
  expect(await refusal([payment], { prompt: 'none', scope: 'openid' })).toBe('consent_required');
});

test('a token for another API carries none of it', async () => {
  const { body } = await pay([payment], { alsoFor: ledger, token: { resource: ledger } });
  const claims = decodeJwt(String(body.access_token));
  expect(claims.aud).toBe(ledger);
  expect(claims).not.toHaveProperty('authorization_details');
});

test('a token request may ask for some of what was granted and for nothing else (RFC 9396 §6.1)', async () => {
  const second = { ...payment, amount: '5.00 EUR' };
  const ask = (details: unknown) => ({ token: { authorization_details: JSON.stringify(details) } });
  expect((await pay([payment, second], ask([second]))).body.authorization_details).toEqual([second]);
  const { status, body } = await pay([payment], ask([{ ...payment, amount: '9000.00 EUR' }]));
  expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_authorization_details' });
});

test.each<[string, unknown, Parameters?]>([
  ['an unknown type', [{ type: 'loan' }]],
  ['an unknown member', [{ ...payment, note: 'hello' }]],
  ['an unknown action', [{ ...payment, actions: ['refund'] }]],
  ['the location of another API', [{ ...payment, locations: [ledger] }]],
  ['a type whose API is not asked for', [payment], { resource: ledger }],
  ['a request without an API', [payment], { resource: undefined }],
  ['no array', payment],
  ['a text that turns round', [{ ...payment, creditor: '\u202edoownreF' }]],
  ['too many', Array.from({ length: 11 }, () => payment)],
  ['too long a text', [{ ...payment, creditor: 'x'.repeat(2_000) }]],
])('%s is refused', async (_what, details, changes) => {
  expect(await refusal(details, changes)).toBe('invalid_authorization_details');
});

test('a client that has not registered the type may not ask for it', async () => {
  const other = await registerClient(app);
  await allowApi(app.database.db, other.client_id, bank, { scopes: [] });
  const url = paymentUrl([payment], { client_id: other.client_id, scope: 'openid' });
  const page = await person.person.open(url);
  expect(page.left?.searchParams.get('error')).toBe('invalid_authorization_details');
});

test('a service may ask for details of its own', async () => {
  const details = JSON.stringify([payment]);
  const asked = { grant_type: 'client_credentials', resource: bank, authorization_details: details };
  const { body } = await post(app, 'token', asked, shop);
  expect(decodeJwt(String(body.access_token))).toMatchObject({ aud: bank, authorization_details: [payment] });
});

test('a type that was taken back is refused, and clients that listed it live on', async () => {
  const { db } = app.database;
  await createAuthorizationDetailsType(db, { type: 'transfer', apiIdentifier: bank, title: 'Move money' });
  await app.app.reload();
  const client = await registerClient(app, { authorization_details_types: ['transfer'] });
  expect(await deleteAuthorizationDetailsType(db, 'transfer')).toBe(true);
  await app.app.reload();
  const code = await issueCode(app, client, person);
  expect((await redeem(app, client, code)).status).toBe(200);
});

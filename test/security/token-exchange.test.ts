/** A token exchange gives nobody more than the operator permitted, than the subject's token was worth, or for longer. */
import { sql } from 'drizzle-orm';
import { generateKeyPair, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { disallowApi } from '../../src/apis/client-access.ts';
import {
  accessTokenType,
  createExchangeApis,
  createExchanger,
  exchange,
  issueFor,
  jwtType,
  permit,
  stock,
  tokenExchange,
} from '../apis/exchange.ts';
import { allow, askForToken, createApiSide, introspect, invoices, photos, verifyAt } from '../apis/fixture.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  advance,
  ageUses,
  issueCode,
  issueTokens,
  type Parameters,
  post,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  userinfoStatus,
} from './protocol.ts';

let app: TestApp;
let client: Registration;
/** Called with tokens for invoices (JWT); calls stock (JWT) and photos (opaque). */
let service: Registration;
let photosSide: Registration;
let signedIn: SignedIn;
let token: string;

beforeAll(async () => {
  app = await startApp();
  await createExchangeApis(app);
  client = await registerClient(app);
  await allow(app, client, { [invoices]: ['read'], [photos]: ['read'] });
  service = await createExchanger(app, { [stock]: ['look'], [photos]: ['read'], [invoices]: [] });
  await permit(app, service, invoices, stock, 'impersonation', 'delegation');
  await permit(app, service, invoices, photos, 'impersonation');
  photosSide = await createApiSide(app, photos);
  signedIn = await signedInPerson(app);
  token = (await issueFor(app, client, signedIn, invoices)).access_token;
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

type Recorded = { event: string; account_id: string; client_id: string; details: Record<string, unknown> };

async function lastRecord(): Promise<Recorded & Record<string, unknown>> {
  const { rows } = await app.database.db.execute(
    sql`select * from audit_events where event like 'token.exchange%' order by id desc limit 1`,
  );
  return rows[0] as Recorded & Record<string, unknown>;
}

/** The request is refused with this error, and that is written down. */
async function expectRefused(answer: ReturnType<typeof exchange>, error: string): Promise<void> {
  const { status, body } = await answer;
  expect([status, body.error], JSON.stringify(body)).toEqual([400, error]);
  expect(body.access_token).toBeUndefined();
  expect(await lastRecord()).toMatchObject({ event: 'token.exchange-refused', details: { error } });
}

describe('who may exchange', () => {
  test('nobody, until the operator permits exactly this', async () => {
    const other = await createExchanger(app, { [stock]: ['look'], [photos]: ['read'] });
    await expectRefused(exchange(app, other, token, { resource: stock }), 'unauthorized_client');
    await permit(app, other, photos, stock, 'impersonation');
    await permit(app, other, invoices, photos, 'impersonation');
    await expectRefused(exchange(app, other, token, { resource: stock }), 'unauthorized_client');
  });

  test('nobody without the grant type', async () => {
    const { status, body } = await exchange(app, client, token, { resource: stock });
    expect([status, body.error]).toEqual([400, 'invalid_request']);
  });

  test('no public client, which cannot even be registered for it', async () => {
    const response = await fetch(`${app.origin}/clients`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        redirect_uris: [`${app.origin}/callback`],
        token_endpoint_auth_method: 'none',
        grant_types: ['authorization_code', tokenExchange],
      }),
    });
    expect(response.status).toBe(400);
    const open = await registerClient(app, { token_endpoint_auth_method: 'none' });
    await app.database.db.execute(sql`
      update oidc_clients set metadata = jsonb_set(metadata, '{grant_types}', ${JSON.stringify([tokenExchange])}::jsonb)
      where client_id = ${open.client_id}`);
    await expectRefused(exchange(app, open, token, { resource: stock }), 'unauthorized_client');
  });

  test('nobody without credentials', async () => {
    const stranger = { client_id: service.client_id, client_secret: 'guess' } as Registration;
    expect((await exchange(app, stranger, token, { resource: stock })).body.error).toBe('invalid_client');
  });

  test('who may only delegate is named as the actor, and cannot leave itself out', async () => {
    const delegate = await createExchanger(app, { [stock]: ['look'] });
    await permit(app, delegate, invoices, stock, 'delegation');
    const { body } = await exchange(app, delegate, token, { resource: stock });
    expect((await verifyAt(app, stock, body.access_token)).payload.act).toEqual({ sub: delegate.client_id });
  });
});

describe('a request', () => {
  const types = (name: string) => `urn:ietf:params:oauth:token-type:${name}`;
  const wrong: [string, Parameters, string][] = [
    ['without a subject token', { subject_token: undefined }, 'invalid_request'],
    ['without its type', { subject_token_type: undefined }, 'invalid_request'],
    ['with an unknown type', { subject_token_type: 'bearer' }, 'invalid_request'],
    ['with an ID token by type', { subject_token_type: types('id_token') }, 'invalid_request'],
    ['with a refresh token by type', { subject_token_type: types('refresh_token') }, 'invalid_request'],
    ['with a SAML assertion by type', { subject_token_type: types('saml2') }, 'invalid_request'],
    ['for a refresh token', { requested_token_type: types('refresh_token') }, 'invalid_request'],
    ['for an ID token', { requested_token_type: types('id_token') }, 'invalid_request'],
    ['with an actor type but no actor', { actor_token_type: accessTokenType }, 'invalid_request'],
    ['with an actor but no type', { actor_token: 'x' }, 'invalid_request'],
    ['for no API', { resource: undefined }, 'invalid_request'],
    ['for two APIs', { audience: photos }, 'invalid_target'],
    ['for an unknown API', { resource: 'https://nowhere.example/' }, 'invalid_target'],
    ['for what is no API', { resource: 'stock\0' }, 'invalid_target'],
    ['for the issuer', { resource: undefined, audience: 'latchkey' }, 'invalid_target'],
    ['with an unknown scope', { scope: 'look everywhere' }, 'invalid_scope'],
    ['with a scope that the client does not have', { scope: 'take' }, 'invalid_scope'],
    ['with a scope of the subject’s token', { scope: 'read' }, 'invalid_scope'],
    ['with a scope of OpenID Connect', { scope: 'openid' }, 'invalid_scope'],
  ];
  test.each(wrong)('%s is refused', async (_what, changes, error) => {
    await expectRefused(exchange(app, service, token, { resource: stock, ...changes }), error);
  });

  test('may name its API twice, and in both ways; nothing else twice', async () => {
    const body = new URLSearchParams({ grant_type: tokenExchange, subject_token: token, audience: stock });
    body.append('subject_token_type', accessTokenType);
    for (let time = 0; time < 2; time += 1) body.append('resource', stock);
    const { client_id, client_secret = '' } = service;
    const send = (extra: [string, string][]) =>
      fetch(`${app.issuer}/token`, {
        method: 'POST',
        body: new URLSearchParams([...body, ...extra, ['client_id', client_id], ['client_secret', client_secret]]),
      });
    expect((await send([])).status).toBe(200);
    for (const name of ['subject_token', 'subject_token_type', 'scope', 'requested_token_type']) {
      const twice: [string, string][] = [name, name].map((each) => [each, body.get(each) ?? 'look']);
      const answer = await send(twice);
      expect([name, answer.status, ((await answer.json()) as { error: string }).error]).toEqual([
        name,
        400,
        'invalid_request',
      ]);
    }
  });
});

describe('what is no subject token', () => {
  const lookalike = async (header: object, claims: object) => {
    const { privateKey } = await generateKeyPair('ES256');
    const { payload, protectedHeader } = await verifyAt(app, invoices, token);
    return new SignJWT({ ...payload, ...claims })
      .setProtectedHeader({ ...protectedHeader, ...header })
      .sign(privateKey);
  };
  const withPart = (index: number, change: object) => {
    const parts = token.split('.');
    const said = JSON.parse(Buffer.from(parts[index] ?? '', 'base64url').toString());
    parts[index] = Buffer.from(JSON.stringify({ ...said, ...change })).toString('base64url');
    return parts.join('.');
  };
  const impostors: Record<string, () => Promise<string> | string> = {
    'what nobody issued': () => 'x'.repeat(43),
    'text with NUL in it': () => 'a\0b',
    'three parts of nothing': () => 'a.b.c',
    'a JWT signed by another key': () => lookalike({}, {}),
    'a JWT that brings its key along': () => lookalike({ jwk: { kty: 'oct', k: 'eHg' }, jku: 'http://127.0.0.1/' }, {}),
    'a JWT whose subject was changed': () => withPart(1, { sub: 'u_somebody' }),
    'a JWT without signature': () => `${withPart(0, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`,
    'an ID token': async () => (await issueTokens(app, client, signedIn)).id_token,
    'an access token for userinfo': async () => (await issueTokens(app, client, signedIn)).access_token,
    'a refresh token': async () => (await issueFor(app, client, signedIn, invoices)).refresh_token,
    'a client secret': () => service.client_secret ?? '',
  };
  test.each(Object.keys(impostors))('%s', async (what) => {
    const value = (await impostors[what]?.()) ?? '';
    for (const subject_token_type of [accessTokenType, jwtType])
      await expectRefused(exchange(app, service, value, { resource: stock, subject_token_type }), 'invalid_request');
  });

  test('an opaque token under the type of a JWT', async () => {
    await permit(app, service, photos, stock, 'impersonation');
    const { access_token } = await issueFor(app, client, signedIn, photos);
    const asJwt = { resource: stock, subject_token_type: jwtType };
    await expectRefused(exchange(app, service, access_token, asJwt), 'invalid_request');
    expect((await exchange(app, service, access_token, { resource: stock })).status).toBe(200);
  });

  test.each([invoices, photos])('an expired one: %s', async (api) => {
    const { access_token } = await issueFor(app, client, signedIn, api);
    advance(601);
    await expectRefused(exchange(app, service, access_token, { resource: stock }), 'invalid_request');
  });
});

describe('an exchanged token', () => {
  test('lives no longer than the one it was made of', async () => {
    const { access_token } = await issueFor(app, client, signedIn, invoices);
    const { payload: subject } = await verifyAt(app, invoices, access_token);
    advance(500);
    const { body } = await exchange(app, service, access_token, { resource: stock });
    expect(body.expires_in).toBeLessThanOrEqual(100);
    expect((await verifyAt(app, stock, body.access_token)).payload.exp).toBe(subject.exp);
    const opaque = await exchange(app, service, access_token, { resource: photos });
    expect((await introspect(app, photosSide, opaque.body.access_token)).exp).toBe(subject.exp);
    advance(101);
    expect((await introspect(app, photosSide, opaque.body.access_token)).active).toBe(false);
  });

  test('comes alone, and is good at its API only (SECURITY 45)', async () => {
    const asked = { resource: photos, scope: 'read' };
    const { body } = await exchange(app, service, token, asked);
    expect(Object.keys(body).sort()).toEqual(
      ['access_token', 'expires_in', 'issued_token_type', 'scope', 'token_type'].sort(),
    );
    expect(await userinfoStatus(app, String(body.access_token))).toBe(403);
    const invoicesSide = await createApiSide(app, invoices);
    expect((await introspect(app, invoicesSide, body.access_token)).active).toBe(false);
    expect((await introspect(app, client, body.access_token)).active, 'the first client is none of its parties').toBe(
      false,
    );
  });

  test('can be ended by the client that got it', async () => {
    const { body } = await exchange(app, service, token, { resource: photos });
    const revoked = await post(app, 'revocation', { token: String(body.access_token) }, service);
    expect(revoked.status).toBe(200);
    expect((await introspect(app, photosSide, body.access_token)).active).toBe(false);
    const again = await exchange(app, service, token, { resource: photos });
    expect((await introspect(app, photosSide, again.body.access_token)).active, 'others are not touched').toBe(true);
  });
});

describe('ends with what it came from (SECURITY 21):', () => {
  type World = { who: SignedIn; app: Registration; refreshToken: string };
  const ends: Record<string, (world: World) => Promise<unknown>> = {
    'the person withdraws the consent': ({ who }) =>
      who.person.request(`/account/apps/${client.client_id}/disconnection`, {
        method: 'POST',
        headers: { origin: app.origin, 'sec-fetch-site': 'same-origin' },
      }),
    'the account is suspended': ({ who }) =>
      app.database.db.execute(sql`update users set suspended_at = now() where id = ${who.account.sub}`),
    'the account is deleted': ({ who }) =>
      app.database.db.execute(sql`delete from users where id = ${who.account.sub}`),
    'the first client revokes its refresh token': ({ refreshToken }) =>
      post(app, 'revocation', { token: refreshToken }, client),
    'a refresh token of the family is used again': async ({ refreshToken }) => {
      await refresh(app, client, refreshToken, { resource: invoices });
      await ageUses(app, 11);
      expect((await refresh(app, client, refreshToken, { resource: invoices })).status).toBe(400);
    },
  };
  test.each(Object.keys(ends))('%s', async (what) => {
    const who = await signedInPerson(app);
    const first = await issueFor(app, client, who, invoices);
    const jwt = await exchange(app, service, first.access_token, { resource: stock });
    const opaque = await exchange(app, service, first.access_token, { resource: photos });
    const last = await exchange(app, chained, String(jwt.body.access_token), { resource: photos });
    const derived = [opaque, last].map(({ body }) => body.access_token);
    const active = () => Promise.all(derived.map(async (each) => (await introspect(app, photosSide, each)).active));
    expect(await active()).toEqual([true, true]);
    expect((await introspect(app, service, jwt.body.access_token)).active).toBe(true);

    await ends[what]?.({ who, app: client, refreshToken: first.refresh_token });
    expect(await active()).toEqual([false, false]);
    expect((await introspect(app, service, jwt.body.access_token)).active).toBe(false);
    await expectRefused(exchange(app, service, first.access_token, { resource: stock }), 'invalid_request');
    await expectRefused(exchange(app, chained, String(jwt.body.access_token), { resource: photos }), 'invalid_request');
  });

  /** The next hop. */
  let chained: Registration;
  beforeAll(async () => {
    chained = await createExchanger(app, { [photos]: ['read'] });
    await permit(app, chained, stock, photos, 'delegation');
  });

  test('the person signs out of what was for the time of the session', async () => {
    const who = await signedInPerson(app);
    const asked = { scope: 'openid read', resource: invoices };
    const { body: tokens } = await redeem(app, client, await issueCode(app, client, who, asked), {
      resource: invoices,
    });
    const { body } = await exchange(app, service, String(tokens.access_token), { resource: photos });
    expect((await introspect(app, photosSide, body.access_token)).active).toBe(true);
    const headers = { origin: app.origin, 'sec-fetch-site': 'same-origin' };
    await who.person.request('/auth/logout', { method: 'POST', headers });
    expect((await introspect(app, photosSide, body.access_token)).active).toBe(false);
  });

  test('a client that may no longer use the first API', async () => {
    const gone = await registerClient(app);
    await allow(app, gone, { [invoices]: ['read'] });
    const { access_token } = await issueFor(app, gone, signedIn, invoices);
    await disallowApi(app.database.db, gone.client_id, invoices);
    await expectRefused(exchange(app, service, access_token, { resource: stock }), 'invalid_request');
  });
});

describe('an actor', () => {
  const as = (actor_token: unknown) => ({
    resource: stock,
    actor_token: String(actor_token),
    actor_token_type: accessTokenType,
  });

  test('is not anybody whose token the client was called with', async () => {
    await expectRefused(exchange(app, service, token, as(token)), 'invalid_request');
    const other = await createExchanger(app, { [invoices]: ['read'] });
    const { body } = await askForToken(app, other, { resource: invoices });
    await expectRefused(exchange(app, service, token, as(body.access_token)), 'invalid_request');
  });

  test('is there, and acts for nobody else already', async () => {
    await expectRefused(exchange(app, service, token, as('unknown')), 'invalid_request');
    const exchanged = await exchange(app, service, token, as((await ownToken()).access_token));
    expect(exchanged.status).toBe(200);
    await expectRefused(exchange(app, service, token, as(exchanged.body.access_token)), 'invalid_request');
  });

  test('needs the permission to delegate', async () => {
    const asked = { ...as((await ownToken()).access_token), resource: photos };
    await expectRefused(exchange(app, service, token, asked), 'unauthorized_client');
  });

  test('is the one that the subject’s token names, if it names one (may_act)', async () => {
    const name = async (sub: string) => {
      await app.database.db.execute(sql`
        update oidc_grants set payload = jsonb_set(payload, '{extra}', ${JSON.stringify({ may_act: { sub } })}::jsonb)
        where model = 'AccessToken' and client_id = ${client.client_id}`);
    };
    await permit(app, service, photos, stock, 'impersonation', 'delegation');
    const { access_token } = await issueFor(app, client, signedIn, photos);
    await name('c_somebody');
    await expectRefused(exchange(app, service, access_token, { resource: stock }), 'unauthorized_client');
    await name(service.client_id);
    expect((await exchange(app, service, access_token, { resource: stock })).status).toBe(200);
  });

  const ownToken = async () => (await askForToken(app, service, { resource: invoices })).body;
});

test('a token is not handed on for ever', async () => {
  const circle = await createExchanger(app, { [stock]: ['look'] });
  await permit(app, circle, invoices, stock, 'delegation');
  await permit(app, circle, stock, stock, 'delegation');
  let { status, body } = await exchange(app, circle, token, { resource: stock });
  let hops = 0;
  for (; status === 200; hops += 1) {
    expect(hops).toBeLessThan(20);
    ({ status, body } = await exchange(app, circle, String(body.access_token), { resource: stock }));
  }
  expect([status, body.error, hops]).toEqual([400, 'invalid_request', 8]);
});

describe('the record', () => {
  test('of an exchange says who, for whom, from what to what, and from where', async () => {
    const { body, headers } = await exchange(app, service, token, { resource: stock }, { 'user-agent': 'Service/2' });
    const { payload } = await verifyAt(app, stock, body.access_token);
    const { payload: subject } = await verifyAt(app, invoices, token);
    const event = await lastRecord();
    expect(event).toMatchObject({
      event: 'token.exchanged',
      account_id: signedIn.account.sub,
      client_id: service.client_id,
      address: '127.0.0.1',
      user_agent: 'Service/2',
      request_id: headers.get('x-request-id'),
      details: {
        mode: 'impersonation',
        subject_api: invoices,
        subject_client: client.client_id,
        subject_jti: subject.jti,
        target_api: stock,
        scope: 'look',
        jti: payload.jti,
      },
    });
    expect(JSON.stringify(event)).not.toContain(token.split('.')[2]);
  });

  test('of an opaque token does not hold it', async () => {
    const { body } = await exchange(app, service, token, { resource: photos });
    const event = JSON.stringify(await lastRecord());
    expect(event).toContain(photos);
    expect(event).not.toContain(body.access_token);
  });

  test('of eight at once: eight tokens, eight records', async () => {
    const before = await count();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => exchange(app, service, token, { resource: photos })),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(new Set(answers.map(({ body }) => body.access_token)).size).toBe(8);
    expect((await count()) - before).toBe(8);
  });

  async function count(): Promise<number> {
    const { rows } = await app.database.db.execute(
      sql`select count(*)::int as count from audit_events where event = 'token.exchanged'`,
    );
    return Number(rows[0]?.count);
  }
});

/** Services that call services for somebody (RFC 8693): who is meant and who acts stays known all the way. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
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
import {
  allow,
  askForToken,
  createApiSide,
  createService,
  introspect,
  invoices,
  photos,
  verifyAt,
} from '../apis/fixture.ts';
import { type SignedIn, signedInPerson } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { runCommandLine } from '../support/command-line.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';

let app: TestApp;
let signedIn: SignedIn;
/** What people use, … */
let client: Registration;
/** … the service behind its API, … */
let invoicing: Registration;
/** … the one that this calls, … */
let stockkeeping: Registration;
/** … and one that only ever acts as itself. */
let worker: Registration;
let photosSide: Registration;
/** What invoicing is called with. */
let token: string;

beforeAll(async () => {
  app = await startApp();
  await createExchangeApis(app);
  signedIn = await signedInPerson(app);
  client = await registerClient(app);
  await allow(app, client, { [invoices]: ['read', 'pay'] });
  invoicing = await createExchanger(app, { [stock]: ['look', 'take'], [photos]: ['read'], [invoices]: [] });
  await permit(app, invoicing, invoices, stock, 'delegation');
  await permit(app, invoicing, invoices, photos, 'impersonation', 'delegation');
  stockkeeping = await createExchanger(app, { [photos]: ['read', 'print'], [stock]: ['look'] });
  await permit(app, stockkeeping, stock, photos, 'delegation');
  await permit(app, stockkeeping, stock, stock, 'impersonation');
  worker = await createService(app, { [invoices]: ['read'] });
  photosSide = await createApiSide(app, photos);
  token = (await issueFor(app, client, signedIn, invoices)).access_token;
});
afterAll(() => app.close());

test('discovery names the grant type', async () => {
  const metadata = await (await fetch(`${app.issuer}/.well-known/openid-configuration`)).json();
  expect((metadata as { grant_types_supported: string[] }).grant_types_supported).toContain(tokenExchange);
});

test('delegation: the next token is about the person, for the next API, and says who acts', async () => {
  const { status, body, headers } = await exchange(app, invoicing, token, { resource: stock, scope: 'look' });
  expect([status, headers.get('cache-control')], JSON.stringify(body)).toEqual([200, 'no-store']);
  expect(body).toEqual({
    access_token: expect.any(String),
    issued_token_type: accessTokenType,
    token_type: 'Bearer',
    expires_in: expect.any(Number),
    scope: 'look',
  });
  const { payload } = await verifyAt(app, stock, body.access_token);
  expect(payload).toMatchObject({
    sub: signedIn.account.sub,
    client_id: invoicing.client_id,
    scope: 'look',
    act: { sub: invoicing.client_id },
  });
});

test('impersonation: nothing in the token tells it from one that the person got there', async () => {
  const { body } = await exchange(app, invoicing, token, { audience: photos });
  const told = await introspect(app, photosSide, body.access_token);
  expect(told).toMatchObject({ active: true, sub: signedIn.account.sub, scope: 'read', aud: photos });
  expect(told).not.toHaveProperty('act');
});

test('with an actor token it is delegation, and the actor is whom that token is about', async () => {
  const own = await askForToken(app, invoicing, { resource: invoices });
  const actor = { actor_token: String(own.body.access_token), actor_token_type: jwtType };
  const { body } = await exchange(app, invoicing, token, { audience: photos, ...actor });
  expect(await introspect(app, photosSide, body.access_token)).toMatchObject({
    sub: signedIn.account.sub,
    act: { sub: invoicing.client_id },
  });
});

test('a person may be the actor, for the client that has that person’s token', async () => {
  const clerk = await signedInPerson(app);
  const desk = await registerClient(app, {
    grant_types: ['authorization_code', 'refresh_token', tokenExchange],
  });
  await allow(app, desk, { [invoices]: ['read'], [stock]: ['look'] });
  await permit(app, desk, invoices, stock, 'delegation');
  const actor = {
    actor_token: (await issueFor(app, desk, clerk, invoices)).access_token,
    actor_token_type: accessTokenType,
  };
  const { status, body } = await exchange(app, desk, token, { resource: stock, ...actor });
  expect(status, JSON.stringify(body)).toBe(200);
  const { payload } = await verifyAt(app, stock, body.access_token);
  expect(payload).toMatchObject({ sub: signedIn.account.sub, act: { sub: clerk.account.sub } });
});

test('from hop to hop the chain grows, and the scope and time never do', async () => {
  const { payload: original } = await verifyAt(app, invoices, token);
  const hop = await exchange(app, invoicing, token, { resource: stock });
  const { payload: second } = await verifyAt(app, stock, hop.body.access_token);
  expect(second.exp, 'an API with longer tokens makes none longer').toBeLessThanOrEqual(original.exp ?? 0);
  const last = await exchange(app, stockkeeping, String(hop.body.access_token), { resource: photos, scope: 'print' });
  expect(last.status, JSON.stringify(last.body)).toBe(200);
  const told = await introspect(app, photosSide, last.body.access_token);
  expect(told).toMatchObject({
    active: true,
    sub: signedIn.account.sub,
    client_id: stockkeeping.client_id,
    scope: 'print',
    act: { sub: stockkeeping.client_id, act: { sub: invoicing.client_id } },
  });
  expect(told.exp).toBeLessThanOrEqual(second.exp ?? 0);
});

test('an opaque token is exchanged like a JWT', async () => {
  await allow(app, client, { [photos]: ['read'] });
  await permit(app, stockkeeping, photos, stock, 'impersonation');
  const { access_token } = await issueFor(app, client, signedIn, photos);
  const { status, body } = await exchange(app, stockkeeping, access_token, { resource: stock });
  expect(status, JSON.stringify(body)).toBe(200);
  expect((await verifyAt(app, stock, body.access_token)).payload.sub).toBe(signedIn.account.sub);
});

describe('a service’s own token', () => {
  const own = async () => String((await askForToken(app, worker, { resource: invoices })).body.access_token);

  test('becomes one about that service, in JWT form …', async () => {
    const { body } = await exchange(app, invoicing, await own(), { resource: stock });
    const { payload } = await verifyAt(app, stock, body.access_token);
    expect(payload).toMatchObject({
      sub: worker.client_id,
      client_id: invoicing.client_id,
      act: { sub: invoicing.client_id },
    });
    expect(await introspect(app, invoicing, body.access_token)).toMatchObject({ active: true, sub: worker.client_id });
  });

  test('… and opaque, and goes on from there', async () => {
    const { body } = await exchange(app, invoicing, await own(), { resource: photos });
    expect(await introspect(app, photosSide, body.access_token)).toMatchObject({
      active: true,
      sub: worker.client_id,
      client_id: invoicing.client_id,
    });
    const again = await exchange(app, stockkeeping, String(body.access_token), { resource: stock });
    expect((await verifyAt(app, stock, again.body.access_token)).payload.sub).toBe(worker.client_id);
  });
});

test('for the same API the scope can only become narrower', async () => {
  const hop = await exchange(app, invoicing, token, { resource: stock, scope: 'look take' });
  const narrow = await exchange(app, stockkeeping, String(hop.body.access_token), { resource: stock });
  expect([narrow.status, narrow.body.scope], JSON.stringify(narrow.body)).toEqual([200, 'look']);
  const { payload } = await verifyAt(app, stock, narrow.body.access_token);
  expect(payload.act, 'impersonation hides nobody who acted before').toEqual({ sub: invoicing.client_id });
  const wider = await exchange(app, stockkeeping, String(narrow.body.access_token), { resource: stock, scope: 'take' });
  expect([wider.status, wider.body.error]).toEqual([400, 'invalid_scope']);
});

test('a JWT may be asked for by name, where tokens are JWTs', async () => {
  const asked = { requested_token_type: jwtType };
  const { body } = await exchange(app, invoicing, token, { resource: stock, ...asked });
  expect(body.issued_token_type).toBe(jwtType);
  const opaque = await exchange(app, invoicing, token, { resource: photos, ...asked });
  expect([opaque.status, opaque.body.error]).toEqual([400, 'invalid_request']);
});

describe('the operator’s commands', () => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-exchange-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const latchkey = (...words: string[]) => runCommandLine({ env: app.env, folder }, ['token-exchange', ...words]);

  test('permit, list and forbid an exchange, each recorded once', async () => {
    const service = await createExchanger(app, { [stock]: ['look'] });
    const named = [service.client_id, invoices, stock, '--mode', 'delegation'];
    const permission = { client_id: service.client_id, subject_api: invoices, target_api: stock, mode: 'delegation' };
    expect((await exchange(app, service, token, { resource: stock })).body.error).toBe('unauthorized_client');

    const allowed = await latchkey('allow', ...named, '--json');
    expect([allowed.code, JSON.parse(allowed.stdout)]).toEqual([0, permission]);
    expect((await latchkey('allow', ...named)).code).toBe(0);
    expect((await latchkey('list')).stdout).toContain(service.client_id);
    const listed = await latchkey('list', '--client', service.client_id, '--json');
    expect(JSON.parse(listed.stdout)).toEqual([permission]);
    expect((await exchange(app, service, token, { resource: stock })).status).toBe(200);

    expect((await latchkey('forbid', ...named)).code).toBe(0);
    // What a server keeps in memory it is told of a moment later.
    await vi.waitFor(async () =>
      expect((await exchange(app, service, token, { resource: stock })).body.error).toBe('unauthorized_client'),
    );
    const { code, stderr } = await latchkey('forbid', ...named);
    expect([code, stderr]).toEqual([1, expect.stringContaining('no such permission')]);
    const { rows } = await app.database.db.execute(sql`
      select event, details from audit_events
      where client_id = ${service.client_id} and event like 'token-exchange.%' order by id`);
    const details = {
      subject_api: invoices,
      target_api: stock,
      mode: 'delegation',
      by: 'cli',
      user: expect.any(String),
    };
    expect(rows).toEqual([
      { event: 'token-exchange.permitted', details },
      { event: 'token-exchange.forbidden', details },
    ]);
  });

  test.each([
    ['an unknown client', () => ['c_nobody', invoices, stock], /no client c_nobody/],
    ['an unknown API', () => [invoicing.client_id, invoices, 'https://nowhere.example/'], /no API https:/],
    ['no API at all', () => [invoicing.client_id, 'x\u202ey', stock], /no API/],
  ])('allow refuses %s', async (_what, words, said) => {
    const { code, stderr } = await latchkey('allow', ...words(), '--mode', 'impersonation');
    expect([code, stderr]).toEqual([1, expect.stringMatching(said)]);
  });

  test('allow refuses a public client, and a mode that there is not', async () => {
    const open = await registerClient(app, { token_endpoint_auth_method: 'none' });
    expect((await latchkey('allow', open.client_id, invoices, stock, '--mode', 'delegation')).stderr).toMatch(/public/);
    expect((await latchkey('allow', invoicing.client_id, invoices, stock, '--mode', 'magic')).code).toBe(2);
    expect((await latchkey('allow', invoicing.client_id, invoices, stock)).code).toBe(2);
  });
});

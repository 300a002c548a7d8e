/** A client's own life, from its registration to its end, at either of the two doors (RFC 7591, RFC 7592). */
import { eq, sql } from 'drizzle-orm';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createInitialAccessToken, revokeInitialAccessToken } from '../../src/clients/initial-access-tokens.ts';
import { deleteUnusedClients } from '../../src/clients/unused-clients.ts';
import { auditEvents, oidcClients, oidcGrants } from '../../src/db/schema.ts';
import { sha256 } from '../../src/lib/hash.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { createTestDatabase } from '../support/database.ts';
import {
  discover,
  type Registration,
  registerAccount,
  registerClient,
  signInThrough,
} from '../support/relying-party.ts';

const doors = ['/clients', '/oidc/reg'];
let app: TestApp;

beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

type Registered = Registration & { registration_client_uri: string };
type Body = Record<string, unknown>;

async function ask(url: string, init: { method?: string; token?: string; body?: unknown } = {}) {
  const response = await fetch(url, {
    method: init.method ?? 'GET',
    headers: {
      ...(init.body !== undefined && { 'content-type': 'application/json' }),
      ...(init.token !== undefined && { authorization: `Bearer ${init.token}` }),
    },
    ...(init.body !== undefined && { body: JSON.stringify(init.body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: (text ? JSON.parse(text) : {}) as Body };
}

const metadata = (changes: Body = {}) => ({
  client_name: 'Fernwood Library',
  redirect_uris: [`${app.origin}/callback`],
  ...changes,
});

const eventsOf = (clientId: string) =>
  app.database.db.select().from(auditEvents).where(eq(auditEvents.clientId, clientId)).orderBy(auditEvents.id);

test('a client registers where discovery says, signs somebody in, and deletes itself with all that it got', async () => {
  const config = await client.dynamicClientRegistration(new URL(app.issuer), metadata(), undefined, {
    execute: [client.allowInsecureRequests],
  });
  const registered = config.clientMetadata() as unknown as Registered;
  expect(config.serverMetadata().registration_endpoint).toBe(`${app.issuer}/reg`);
  expect(registered.registration_client_uri).toBe(`${app.issuer}/reg/${registered.client_id}`);

  const rp = await discover(app, registered);
  const account = await registerAccount(app);
  const { tokens } = await signInThrough(app, rp, account);
  expect(await rp.userinfo(tokens.access_token, account.sub)).toMatchObject({ sub: account.sub });

  const { registration_client_uri: uri, registration_access_token: token } = registered;
  expect((await ask(uri, { method: 'DELETE', token })).status).toBe(204);
  expect((await ask(uri, { token })).status).toBe(401);
  await expect(rp.userinfo(tokens.access_token, account.sub)).rejects.toThrow();
  const { db } = app.database;
  expect(await db.select().from(oidcGrants).where(eq(oidcGrants.clientId, registered.client_id))).toEqual([]);
});

describe.each(doors)('through the door %s', (door) => {
  test('a client reads, changes, re-keys and deletes itself, and each change is on record with who asked', async () => {
    const created = await ask(app.origin + door, {
      method: 'POST',
      body: metadata({ tos_uri: 'https://a.example/t' }),
    });
    expect(created.status).toBe(201);
    const { client_id, registration_access_token: token, registration_client_uri } = created.body as Registered;
    const uri = `${app.origin}${door}/${client_id}`;
    expect(registration_client_uri).toBe(uri);

    const read = await ask(uri, { token });
    expect(read.headers.get('cache-control')).toBe('no-store');
    const { client_secret, client_secret_expires_at, ...registered } = created.body;
    expect(read.body).toEqual(registered);

    const change = { client_id, ...metadata({ client_name: 'Fernwood' }) };
    const changed = await ask(uri, { method: 'PUT', token, body: change });
    expect(changed.body).toMatchObject({ client_name: 'Fernwood', registration_access_token: token });
    expect(changed.body).not.toHaveProperty('tos_uri');
    const renewed = await ask(`${uri}/secret`, { method: 'POST', token, body: { grace_seconds: 60 } });
    expect(renewed.body).toMatchObject({ client_id, client_secret: expect.any(String) });
    expect((await ask(uri, { method: 'DELETE', token })).status).toBe(204);

    const source = { address: '127.0.0.1', userAgent: 'node', requestId: expect.any(String) };
    expect(await eventsOf(client_id)).toMatchObject([
      { event: 'client.registered', ...source, details: { client_name: 'Fernwood Library', registered_by: 'open' } },
      { event: 'client.updated', ...source, details: { changed: ['client_name', 'tos_uri'] } },
      { event: 'client.secret-rotated', ...source, details: { grace_seconds: 60 } },
      { event: 'client.deleted', ...source, details: { client_name: 'Fernwood' } },
    ]);
    for (const secret of [token, client_secret, renewed.body.client_secret]) {
      expect(JSON.stringify(await eventsOf(client_id))).not.toContain(secret);
    }
  });

  test('a refused registration or change leaves no client, no change and no record', async () => {
    const { db } = app.database;
    const count = async () => [await db.$count(oidcClients), await db.$count(auditEvents)];
    const { client_id, registration_access_token: token } = await registerClient(app);
    const before = await count();
    for (const body of [
      metadata({ redirect_uris: ['javascript:alert(1)'] }),
      metadata({ software_statement: 'e30.e30.' }),
    ]) {
      expect((await ask(app.origin + door, { method: 'POST', body })).status).toBe(400);
      const change = { method: 'PUT', token, body: { client_id, ...body } };
      expect((await ask(`${app.origin}${door}/${client_id}`, change)).status).toBe(400);
    }
    expect(await count()).toEqual(before);
  });

  test('each refusal has the code of RFC 7591 §3.2.2', async () => {
    const codeOf = async (changes: Body) =>
      (await ask(app.origin + door, { method: 'POST', body: metadata(changes) })).body.error;
    expect(await codeOf({ redirect_uris: ['https://a.example/#x'] })).toBe('invalid_redirect_uri');
    expect(await codeOf({ redirect_uris: [] })).toBe('invalid_redirect_uri');
    expect(await codeOf({ token_endpoint_auth_method: 'client_secret_jwt' })).toBe('invalid_client_metadata');
    expect(await codeOf({ grant_types: ['password'] })).toBe('invalid_client_metadata');
    expect(await codeOf({ jwks: { keys: [{ kty: 'oct', k: 'AA' }] } })).toBe('invalid_client_metadata');
    expect(await codeOf({ software_statement: 'e30.e30.' })).toBe('unapproved_software_statement');
  });

  test('the update of RFC 7592 §2.2 names its client, and nothing that is assigned', async () => {
    const { client_id, client_secret, registration_access_token: token } = await registerClient(app);
    const put = (body: Body) => ask(`${app.origin}${door}/${client_id}`, { method: 'PUT', token, body });
    const right = { client_id, ...metadata() };
    for (const wrong of [
      { client_id: undefined },
      { client_id: 'c_other' },
      { client_secret: 'chosen-by-the-client-itself' },
      { client_secret: 1 },
      { registration_access_token: token },
      { registration_client_uri: 'https://a.example/' },
      { client_secret_expires_at: 0 },
      { client_id_issued_at: 1 },
    ]) {
      const { status, body } = await put({ ...right, ...wrong });
      expect([wrong, status, body.error]).toEqual([wrong, 400, 'invalid_request']);
    }
    expect((await put({ ...right, client_secret })).status).toBe(200);
    expect((await put({ ...right, logo_uri: null, made_up: 'x' })).body).not.toHaveProperty('made_up');
  });
});

describe('who may register', () => {
  test('is said by discovery: closed is not advertised', async () => {
    const endpoint = async (env: Record<string, string>) => {
      const { issuer } = await startAppForTest({ env });
      return (await ask(`${issuer}/.well-known/openid-configuration`)).body.registration_endpoint;
    };
    expect(await endpoint({ CLIENT_REGISTRATION: 'token' })).toMatch(/\/oidc\/reg$/);
    expect(await endpoint({ CLIENT_REGISTRATION: 'closed' })).toBeUndefined();
  });

  test('a token for one client makes one, of eight tries at two doors of two servers at once', async () => {
    const database = await createTestDatabase();
    const env = { CLIENT_REGISTRATION: 'token' };
    const servers = [await startApp({ database, env }), await startApp({ database, env })];
    const { db } = (servers[0] as TestApp).database;
    const token = await createInitialAccessToken(db, { label: 'race', uses: 1 });
    const tries = servers.flatMap(({ origin }) => [...doors, ...doors].map((door) => origin + door));
    const answers = await Promise.all(tries.map((url) => ask(url, { method: 'POST', token, body: metadata() })));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(401)]);
    expect(await db.$count(oidcClients, eq(oidcClients.registeredBy, 'token'))).toBe(1);
    const registered = answers.find(({ status }) => status === 201)?.body as Registered;
    const id = Buffer.from(sha256(token), 'base64url').toString('hex').slice(0, 8);
    expect(await db.select().from(auditEvents).where(sql`details ? 'initial_access_token'`)).toMatchObject([
      { event: 'initial-access-token.created', clientId: null, details: { initial_access_token: id, label: 'race' } },
      { event: 'client.registered', clientId: registered.client_id, details: { initial_access_token: id } },
    ]);
    for (const server of servers) await server.close();
    await database.drop();
  });

  test('a token that was revoked is none, and its clients stay', async () => {
    const { origin, database } = await startAppForTest({ env: { CLIENT_REGISTRATION: 'token' } });
    const token = await createInitialAccessToken(database.db, { uses: 2 });
    const registration = () => ask(`${origin}/oidc/reg`, { method: 'POST', token, body: metadata() });
    const first = await registration();
    const id = Buffer.from(sha256(token), 'base64url').toString('hex').slice(0, 8);
    expect(await revokeInitialAccessToken(database.db, id)).toBe(true);
    expect((await registration()).status).toBe(401);
    const { registration_client_uri, registration_access_token } = first.body as Registered;
    expect((await ask(registration_client_uri, { token: registration_access_token })).status).toBe(200);
  });
});

describe('a client that never got a token', () => {
  const days = (count: number) => count * 24 * 60 * 60 * 1000;
  const age = (clientId: string, since: number) =>
    app.database.db
      .update(oidcClients)
      .set({ createdAt: new Date(Date.now() - since) })
      .where(eq(oidcClients.clientId, clientId));
  const rowOf = async (clientId: string) =>
    (await app.database.db.select().from(oidcClients).where(eq(oidcClients.clientId, clientId)))[0];
  const machine = { redirect_uris: undefined, grant_types: ['client_credentials'] };

  async function tokenFor({ client_id, client_secret = '' }: Registration): Promise<number> {
    const response = await fetch(`${app.issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret }),
    });
    await response.body?.cancel();
    return response.status;
  }

  test('is gone after 30 days, from every door, and then deleted', async () => {
    const registration = await registerClient(app, { ...machine, token_endpoint_auth_method: 'client_secret_post' });
    const { client_id, registration_access_token: token } = registration;
    await age(client_id, days(30) - 60_000);
    expect((await ask(`${app.origin}/clients/${client_id}`, { token })).status).toBe(200);
    await age(client_id, days(30));
    for (const door of doors) expect((await ask(`${app.origin}${door}/${client_id}`, { token })).status).toBe(401);
    expect((await ask(`${app.origin}/clients/${client_id}`)).status).toBe(404);
    expect(await tokenFor(registration)).toBe(401);
    // Two instances at once.
    await Promise.all([deleteUnusedClients(app.database.db), deleteUnusedClients(app.database.db)]);
    expect(await rowOf(client_id)).toBeUndefined();
    const deleted = (await eventsOf(client_id)).filter(({ event }) => event === 'client.deleted');
    expect(deleted).toMatchObject([{ details: { reason: 'never used' }, address: null }]);
  });

  test('stays for good once it got one, which is noted once', async () => {
    const registration = await registerClient(app, { ...machine, token_endpoint_auth_method: 'client_secret_post' });
    const { client_id } = registration;
    expect((await rowOf(client_id))?.usedAt).toBeNull();
    expect(await tokenFor({ ...registration, client_secret: 'wrong' })).toBe(401);
    expect((await rowOf(client_id))?.usedAt).toBeNull();
    expect(await tokenFor(registration)).toBe(200);
    const noted = (await rowOf(client_id))?.usedAt;
    expect(noted).toBeInstanceOf(Date);
    expect(await tokenFor(registration)).toBe(200);
    expect((await rowOf(client_id))?.usedAt).toEqual(noted);
    await age(client_id, days(400));
    await deleteUnusedClients(app.database.db);
    expect(await tokenFor(registration)).toBe(200);
  });

  test('stays when it is the operator’s', async () => {
    const { client_id } = await registerClient(app);
    await age(client_id, days(400));
    await app.database.db
      .update(oidcClients)
      .set({ registeredBy: 'operator' })
      .where(eq(oidcClients.clientId, client_id));
    await deleteUnusedClients(app.database.db);
    expect((await ask(`${app.origin}/clients/${client_id}`)).status).toBe(200);
  });
});

/** A client that is known by the address of its metadata, as MCP clients are (client ID metadata documents). */
import { randomUUID } from 'node:crypto';
import { eq } from 'drizzle-orm';
import { exportJWK, generateKeyPair } from 'jose';
import * as client from 'openid-client';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { auditEvents, consents, oidcClients } from '../../src/db/schema.ts';
import {
  advance,
  issueCode,
  issueTokens,
  post,
  redeem,
  refresh,
  signedInPerson,
  userinfoStatus,
} from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type Documents, startDocuments } from '../support/documents.ts';
import { createPerson, readText } from '../support/person.ts';
import { allow, discover, registerAccount, signIn } from '../support/relying-party.ts';

let app: TestApp;
let documents: Documents;

beforeAll(async () => {
  documents = await startDocuments();
  app = await startApp({ env: { CLIENT_ID_METADATA_DOCUMENTS: 'on', OUTBOUND_ALLOW: 'localhost' } });
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(async () => {
  await app.close();
  await documents.close();
});

const newPath = () => `/${randomUUID()}.json`;
const timesAsked = (clientId: string) => documents.asked.filter((path) => documents.origin + path === clientId).length;
const rowOf = async (clientId: string) =>
  (await app.database.db.select().from(oidcClients).where(eq(oidcClients.clientId, clientId)))[0];

/** Sends somebody who is not signed in with a request of this client; 303 is the way to the sign-in. */
async function ask(clientId: string): Promise<number> {
  const { url } = await (await discover(app, { client_id: clientId, registration_access_token: '' })).start({
    redirect_uri: 'http://127.0.0.1:4711/callback',
  });
  const response = await createPerson(app.origin).request(url);
  await response.body?.cancel();
  return response.status;
}

test('a program on a device signs somebody in, by any port, without ever having been registered', async () => {
  const clientId = documents.publish(newPath(), { client_uri: 'https://kestrel.example/', scope: 'mcp:tools' });
  const rp = await discover(app, { client_id: clientId, registration_access_token: '' });
  expect(rp.config.serverMetadata()).toHaveProperty('client_id_metadata_document_supported', true);
  const redirect_uri = 'http://127.0.0.1:4711/callback';
  const request = await rp.start({ redirect_uri, scope: 'openid profile offline_access', prompt: 'consent' });
  const person = createPerson(app.origin);
  const account = await registerAccount(app);
  const page = await signIn(person, await person.open(request.url), account);

  const text = readText(page.html);
  expect(text).toContain('Kestrel Assistant wants to use your account');
  expect(text).toContain('Unverified');
  expect(text).toContain(`It says it belongs to ${documents.host}`);
  expect(text).toContain('your answer goes to 127.0.0.1:4711');

  const callback = (await allow(person, page)).left as URL;
  const tokens = await request.finish(callback);
  expect(tokens.claims()).toMatchObject({ aud: clientId, sub: account.sub });
  expect(await rp.userinfo(tokens.access_token, account.sub)).toMatchObject({ name: account.name });
  expect(await rp.refresh(tokens.refresh_token ?? '')).toHaveProperty('access_token');
  expect(timesAsked(clientId)).toBe(1);

  // What it is to the operator and to the person.
  expect(await rowOf(clientId)).toMatchObject({ registeredBy: 'document', firstParty: false, secretHash: null });
  expect((await rowOf(clientId))?.usedAt).toBeInstanceOf(Date);
  const events = await app.database.db.select().from(auditEvents).where(eq(auditEvents.clientId, clientId));
  expect(events[0]).toMatchObject({
    event: 'client.registered',
    address: '127.0.0.1',
    details: { registered_by: 'document', client_name: 'Kestrel Assistant' },
  });
  const accountPage = await person.open('/account/apps');
  expect(readText(accountPage.html)).toContain('Kestrel Assistant');
  await person.request(`/account/apps/${encodeURIComponent(clientId)}/disconnection`, {
    method: 'POST',
    body: new URLSearchParams(),
  });
  await expect(rp.userinfo(tokens.access_token, account.sub)).rejects.toThrow();
  expect(await app.database.db.select().from(consents).where(eq(consents.clientId, clientId))).toEqual([]);
});

test('a client with keys of its own proves itself with them', async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), alg: 'ES256', use: 'sig', kid: 'k' };
  const clientId = documents.publish(newPath(), {
    redirect_uris: [`${app.origin}/callback`],
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks: { keys: [jwk] },
  });
  const key = { key: privateKey, kid: 'k' };
  const registration = { client_id: clientId, registration_access_token: '' };
  const rp = await discover(app, registration, client.PrivateKeyJwt(key));
  const request = await rp.start();
  const person = createPerson(app.origin);
  const page = await signIn(person, await person.open(request.url), await registerAccount(app));
  const callback = (await allow(person, page)).left as URL;
  expect(await request.finish(callback)).toHaveProperty('id_token');
  const signedIn = await signedInPerson(app);
  const withoutKey = await redeem(
    app,
    { client_id: clientId },
    await issueCode(app, { client_id: clientId }, signedIn),
  );
  expect([withoutKey.status, withoutKey.body.error]).toEqual([401, 'invalid_client']);
});

test('a program without a browser asks for a device code', async () => {
  const clientId = documents.publish(newPath(), {
    redirect_uris: undefined,
    response_types: [],
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
  });
  const { status, body } = await post(app, 'device/auth', { scope: 'openid' }, { client_id: clientId });
  expect([status, body]).toEqual([200, expect.objectContaining({ user_code: expect.any(String) })]);
});

describe('a document is kept', () => {
  test('as long as its headers say, between 30 seconds and a day', async () => {
    const rows: [Record<string, string>, number][] = [
      [{}, 30],
      [{ 'cache-control': 'max-age=5' }, 30],
      [{ 'cache-control': 'no-store, max-age=3600' }, 30],
      [{ 'cache-control': 'public, max-age=3600' }, 3600],
      [{ 'cache-control': 'max-age=99999999' }, 24 * 3600],
      [{ expires: new Date(Date.now() + 3600_000).toUTCString() }, 3600],
      [{ expires: 'never' }, 30],
    ];
    for (const [headers, seconds] of rows) {
      vi.useRealTimers();
      const clientId = documents.publish(newPath(), {}, headers);
      expect(await ask(clientId)).toBe(303);
      const { documentFetchedAt, documentFreshUntil } = (await rowOf(clientId)) ?? {};
      const kept = ((documentFreshUntil?.getTime() ?? 0) - (documentFetchedAt?.getTime() ?? 0)) / 1000;
      expect([headers, Math.round(kept / 5) * 5]).toEqual([headers, seconds]);
      advance(seconds - 10);
      await ask(clientId);
      expect(timesAsked(clientId)).toBe(1);
      advance(20);
      await ask(clientId);
      expect(timesAsked(clientId)).toBe(2);
    }
  });

  test('by all instances, of which one asks again', async () => {
    const other = await startApp({ database: { url: app.databaseUrl }, env: app.env });
    const clientId = documents.publish(newPath());
    expect(await ask(clientId)).toBe(303);
    advance(31);
    const url = (server: TestApp) =>
      `${server.issuer}/auth?${new URLSearchParams({ client_id: clientId, response_type: 'code', scope: 'openid' })}`;
    await Promise.all([app, other, app, other, app, other, app, other].map((server) => fetch(url(server))));
    expect(timesAsked(clientId)).toBe(2);
    await other.close();
  });

  test('and what changes in it counts from then on, and is on record', async () => {
    const path = newPath();
    const clientId = documents.publish(path, { redirect_uris: ['http://127.0.0.1/callback'] });
    expect(await ask(clientId)).toBe(303);
    documents.publish(path, { redirect_uris: ['https://kestrel.example/cb'], client_name: 'Kestrel' });
    advance(31);
    expect(await ask(clientId)).toBe(400);
    const [, updated] = await app.database.db.select().from(auditEvents).where(eq(auditEvents.clientId, clientId));
    expect(updated).toMatchObject({
      event: 'client.updated',
      details: { changed: ['application_type', 'client_name', 'redirect_uris'] },
    });
  });

  test('while its address does not answer, but not for good', async () => {
    const path = newPath();
    const clientId = documents.publish(path, { redirect_uris: [`${app.origin}/callback`] });
    const tokens = await issueTokens(app, { client_id: clientId }, await signedInPerson(app));
    documents.answer(path, (_req, res) => res.writeHead(503).end());
    advance(31);
    expect((await refresh(app, { client_id: clientId }, tokens.refresh_token)).status).toBe(200);
    expect(timesAsked(clientId)).toBe(2);
    // Not asked again at once, whoever comes.
    expect(await ask(clientId)).not.toBe(500);
    expect(timesAsked(clientId)).toBe(2);
    advance(2 * 24 * 3600 + 60);
    const late = await post(app, 'token', { grant_type: 'refresh_token', refresh_token: 'x' }, { client_id: clientId });
    expect([late.status, late.body.error]).toEqual([400, 'invalid_client']);
  });

  test('and no longer than it is acceptable: a client that is taken back ends', async () => {
    const path = newPath();
    const clientId = documents.publish(path, { redirect_uris: [`${app.origin}/callback`] });
    const tokens = await issueTokens(app, { client_id: clientId }, await signedInPerson(app));
    expect(await userinfoStatus(app, tokens.access_token)).toBe(200);
    documents.answer(path, (_req, res) => res.writeHead(404).end());
    advance(31);
    const refused = await refresh(app, { client_id: clientId }, tokens.refresh_token);
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_client']);
    // Nothing is fetched on behalf of whoever holds a token.
    const asked = timesAsked(clientId);
    expect(await userinfoStatus(app, tokens.access_token)).toBe(401);
    expect(timesAsked(clientId)).toBe(asked);
    documents.publish(path, { redirect_uris: [`${app.origin}/callback`] });
    expect((await refresh(app, { client_id: clientId }, tokens.refresh_token)).status).toBe(200);
  });
});

test('what many servers read may name what there is not here, and leave out what follows', async () => {
  const clientId = documents.publish(newPath(), {
    token_endpoint_auth_method: undefined,
    grant_types: ['authorization_code', 'refresh_token', 'urn:example:grant', 'client_credentials', 'implicit'],
    response_types: ['code', 'token'],
    scope: 'mcp:tools offline_access',
    made_up: { by: 'somebody' },
  });
  expect(await ask(clientId)).toBe(303);
  const { metadata } = (await rowOf(clientId)) ?? {};
  expect(metadata).toMatchObject({
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  });
  expect(metadata).not.toHaveProperty('scope');
  expect(metadata).not.toHaveProperty('made_up');
});

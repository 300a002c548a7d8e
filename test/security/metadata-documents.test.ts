/** Clients that are known by an address: what a stranger can make this server fetch, and what a document can say. */
import { randomUUID } from 'node:crypto';
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { oidcClients, throttles } from '../../src/db/schema.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { type Documents, startDocuments } from '../support/documents.ts';
import { readText } from '../support/person.ts';
import { registerClient } from '../support/relying-party.ts';
import { advance, authorizationUrl, basic, post } from './protocol.ts';

const on = { CLIENT_ID_METADATA_DOCUMENTS: 'on' };
const redirect_uri = 'http://127.0.0.1/callback';

let app: TestApp;
let documents: Documents;

beforeAll(async () => {
  documents = await startDocuments();
  app = await startApp({ env: { ...on, OUTBOUND_ALLOW: 'localhost' } });
});
afterEach(async () => {
  vi.useRealTimers();
  await app.database.db.delete(throttles);
});
afterAll(async () => {
  await app.close();
  await documents.close();
});

const newPath = () => `/${randomUUID()}.json`;
const timesAsked = (clientId: string) => documents.asked.filter((path) => documents.origin + path === clientId).length;

/** Pushes an authorization request: 201 means that the client is one. */
async function ask(clientId: string, server = app) {
  const { code_challenge_method, ...request } = Object.fromEntries(
    new URL(authorizationUrl(server, { client_id: clientId }, { redirect_uri })).searchParams,
  );
  const { status, headers, body } = await post(server, 'request', { ...request, code_challenge_method });
  return { status, headers, error: body.error, description: body.error_description };
}

async function expectRefused(clientId: string, reason: string | RegExp, server = app): Promise<void> {
  const { status, error, description } = await ask(clientId, server);
  expect([clientId, status, error]).toEqual([clientId, 400, 'invalid_client']);
  expect(description).toMatch(reason);
}

/** It is as if there were no such client, since such an id is none. */
async function expectUnknown(clientId: string, server = app): Promise<void> {
  const { status, error, description } = await ask(clientId, server);
  expect([clientId, status, error]).toEqual([clientId, 401, 'invalid_client']);
  expect(description).toBe('client authentication failed');
}

describe('off, which it is unless the operator says otherwise', () => {
  test('nothing is fetched, advertised or known', async () => {
    const plain = await startAppForTest({ env: { OUTBOUND_ALLOW: 'localhost' } });
    const clientId = documents.publish(newPath());
    await expectUnknown(clientId, plain);
    expect(timesAsked(clientId)).toBe(0);
    const metadata = await (await fetch(`${plain.issuer}/.well-known/openid-configuration`)).json();
    expect(metadata).not.toHaveProperty('client_id_metadata_document_supported');
  });

  test('what was known before is not any more', async () => {
    const clientId = documents.publish(newPath());
    expect((await ask(clientId)).status).toBe(201);
    const plain = await startAppForTest({ database: { url: app.databaseUrl } });
    await expectUnknown(clientId, plain);
  });
});

describe('what is fetched (SECURITY 38, 39)', () => {
  test('nothing from inside, unless the operator permits it', async () => {
    const strict = await startAppForTest({ env: on });
    const before = documents.connections();
    const { port } = new URL(documents.origin);
    documents.publish('/inside.json');
    for (const host of ['localhost', '127.0.0.1', '[::1]']) {
      await expectRefused(`http://${host}:${port}/inside.json`, 'could not be fetched', strict);
    }
    for (const host of ['127.0.0.1', '10.0.0.1', '169.254.169.254', '[::ffff:7f00:1]', 'localhost']) {
      await expectRefused(`https://${host}:${port}/inside.json`, 'could not be fetched', strict);
    }
    expect(documents.connections()).toBe(before);
  });

  test('nothing over plain http, loopback in development apart', async () => {
    const production = await startAppForTest({ env: { ...on, NODE_ENV: 'production', OUTBOUND_ALLOW: 'localhost' } });
    const clientId = documents.publish(newPath());
    await expectUnknown(clientId, production);
    await expectUnknown('http://client.example/client.json');
    expect(timesAsked(clientId)).toBe(0);
  });

  test.each([
    ['another case', (id: string) => id.replace('localhost', 'LOCALHOST')],
    ['dots', (id: string) => id.replace('/client', '/x/../client')],
    ['encoded dots', (id: string) => id.replace('/client', '/x/%2e%2e/client')],
    ['a fragment', (id: string) => `${id}#x`],
    ['an empty fragment', (id: string) => `${id}#`],
    ['a user', (id: string) => id.replace('//', '//user@')],
    ['a space', (id: string) => `${id} `],
    ['a backslash', (id: string) => id.replace('/client', '\\client')],
    ['no path', () => 'https://client.example'],
    ['its default port', () => 'https://client.example:443/client.json'],
  ])('nothing at an address that is written with %s', async (_name, write) => {
    const asked = documents.asked.length;
    await expectUnknown(write(documents.publish('/client.json')));
    expect(documents.asked.length).toBe(asked);
  });

  test('one request for one answer, however it fails', async () => {
    const failures = [
      documents.answer(newPath(), (_req, res) => res.writeHead(404).end()),
      documents.answer(newPath(), (_req, res) => res.writeHead(500).end()),
      documents.answer(newPath(), (req) => req.socket.destroy()),
    ];
    for (const [index, clientId] of failures.entries()) {
      await expectRefused(clientId, /^The client_id metadata document [\w ]+\.$/);
      expect(timesAsked(clientId)).toBe(1);
      // The authorization endpoint looks again for a client that it could not get.
      const page = await fetch(authorizationUrl(app, { client_id: clientId }, { redirect_uri }), {
        redirect: 'manual',
      });
      expect([index, page.status, page.headers.get('location')]).toEqual([index, 400, null]);
      expect(readText(await page.text())).toContain('The client_id metadata document');
      expect(timesAsked(clientId)).toBe(2);
    }
  });

  test('no redirect is followed, not even to where it might', async () => {
    const target = documents.publish(newPath());
    for (const status of [301, 302, 303, 307, 308]) {
      const clientId = documents.answer(newPath(), (_req, res) => res.writeHead(status, { location: target }).end());
      await expectRefused(clientId, 'status 200 and no redirect');
    }
    expect(timesAsked(target)).toBe(0);
  });

  test('a server that keeps us waiting is left, and one that talks without end is cut off', async () => {
    const silent = documents.answer(newPath(), () => {});
    const dripping = documents.answer(newPath(), (_req, res) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      const drip = setInterval(() => res.write(' '), 100);
      res.on('close', () => clearInterval(drip));
    });
    let sent = 0;
    const endless = documents.answer(newPath(), (_req, res) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      const more = () => {
        while (!res.destroyed && res.write(' '.repeat(16_384))) sent += 16_384;
      };
      res.on('drain', more);
      more();
    });
    const clients = [silent, dripping, endless];
    await Promise.all(clients.map((clientId) => expectRefused(clientId, 'could not be fetched')));
    expect(clients.map(timesAsked)).toEqual([1, 1, 1]);
    // What the sockets hold on both sides, and no more.
    expect(sent).toBeLessThan(32 * 1024 * 1024);
  });

  test('of eight requests at once for one document, one fetches it', async () => {
    const clientId = documents.publish(newPath());
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask(clientId)));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(201));
    expect(timesAsked(clientId)).toBe(1);
    expect(await app.database.db.$count(oidcClients, eq(oidcClients.clientId, clientId))).toBe(1);
  });

  test('thirty new ones a minute for one address, while those that are known go on', async () => {
    const known = documents.publish(newPath(), {}, { 'cache-control': 'max-age=3600' });
    expect((await ask(known)).status).toBe(201);
    const fresh = () => documents.publish(newPath());
    for (let index = 1; index < 30; index += 1) expect((await ask(fresh())).status).toBe(201);
    const late = fresh();
    const refused = await ask(late);
    expect([refused.status, refused.error]).toEqual([429, 'too_many_requests']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(timesAsked(late)).toBe(0);
    expect((await ask(known)).status).toBe(201);
    advance(61);
    expect((await ask(late)).status).toBe(201);
  });

  test('nothing for those who are not the client', async () => {
    const clientId = documents.publish(newPath());
    const api = await registerClient(app);
    await fetch(`${app.origin}/clients/${encodeURIComponent(clientId)}`);
    await post(app, 'introspection', { token: clientId }, undefined, basic(api));
    await post(app, 'introspection', { token: 'x', client_id: clientId });
    expect(timesAsked(clientId)).toBe(0);
  });
});

describe('a document is refused', () => {
  const refusals: [string, Record<string, unknown>, string | RegExp][] = [
    ['that speaks for another address', { client_id: 'https://bank.example/client.json' }, 'its own address'],
    ['that has no address', { client_id: undefined }, 'its own address'],
    ['with a secret', { client_secret: 'x'.repeat(43) }, 'client_secret'],
    ['with a secret that never expires', { client_secret_expires_at: 0 }, 'client_secret'],
    ['of a client with a shared secret', { token_endpoint_auth_method: 'client_secret_basic' }, 'private_key_jwt'],
    ['of a client with an HMAC', { token_endpoint_auth_method: 'client_secret_jwt' }, 'private_key_jwt'],
    ['without keys of a client that needs them', { token_endpoint_auth_method: 'private_key_jwt' }, 'jwks'],
    ['with private keys', { jwks: { keys: [{ kty: 'RSA', n: 'AQAB', e: 'AQAB', d: 'AQAB' }] } }, 'public key'],
    ['with nowhere to go', { redirect_uris: undefined }, 'redirect_uris'],
    ['that runs something', { redirect_uris: ['javascript:alert(1)'] }, 'scheme javascript'],
    ['with a wildcard', { redirect_uris: ['https://*.example/cb'] }, 'one host'],
    ['whose name turns round', { client_name: 'Your\u202eknab' }, 'invisible'],
    ['whose links run', { client_uri: 'javascript:alert(1)' }, 'client_uri'],
    ['whose logo is a file', { logo_uri: 'file:///etc/passwd' }, 'logo_uri'],
    ['with a software statement', { software_statement: 'e30.e30.' }, 'Software statements'],
  ];

  test.each(refusals)('%s', async (_name, changes, reason) => {
    await expectRefused(documents.publish(newPath(), changes), reason);
  });

  test.each([
    ['as text', 'text/plain', '{}', 'application/json'],
    ['as a page', 'text/html', '{}', 'application/json'],
    ['as a script', 'application/jsonp', '{}', 'application/json'],
    ['as a list', 'application/json', '[]', 'JSON object'],
    ['as null', 'application/json', 'null', 'JSON object'],
    ['half', 'application/json', '{', 'JSON object'],
    ['too deep', 'application/json', `{"a":${'['.repeat(100)}${']'.repeat(100)}}`, 'JSON object'],
  ])('that comes %s', async (_name, type, body, reason) => {
    const clientId = documents.answer(newPath(), (_req, res) => res.writeHead(200, { 'content-type': type }).end(body));
    await expectRefused(clientId, reason);
  });

  test('and leaves nothing behind', async () => {
    const clientId = documents.publish(newPath(), { client_secret: 'x' });
    await expectRefused(clientId, 'client_secret');
    expect(await app.database.db.$count(oidcClients, eq(oidcClients.clientId, clientId))).toBe(0);
  });

  test('served as a kind of JSON of its own it is not', async () => {
    const type = { 'content-type': 'application/client+json; charset=utf-8' };
    expect((await ask(documents.publish(newPath(), {}, type))).status).toBe(201);
  });
});

describe('a client from a document (SECURITY 41)', () => {
  test('has no say in who vouches for it', async () => {
    const clientId = documents.publish(newPath(), {
      first_party: true,
      unverified: false,
      registered_by: 'operator',
      authorization_metadata: { admin: true },
    });
    expect((await ask(clientId)).status).toBe(201);
    const [row] = await app.database.db.select().from(oidcClients).where(eq(oidcClients.clientId, clientId));
    expect(row).toMatchObject({ registeredBy: 'document', firstParty: false, authorizationMetadata: null });
    expect(Object.keys(row?.metadata ?? {})).not.toContain('first_party');
  });

  test('gets no tokens without a person', async () => {
    const clientId = documents.publish(newPath(), { grant_types: ['client_credentials', 'authorization_code'] });
    const { status, body } = await post(app, 'token', { grant_type: 'client_credentials' }, { client_id: clientId });
    expect([status, body.error_description]).toEqual([400, 'requested grant type is not allowed for this client']);
  });

  test('is not redirected to with an error before somebody signed in (SECURITY 5)', async () => {
    const clientId = documents.publish(newPath());
    const changes = { redirect_uri, response_type: 'token' };
    const response = await fetch(authorizationUrl(app, { client_id: clientId }, changes), { redirect: 'manual' });
    expect([response.status, response.headers.get('location')]).toEqual([400, null]);
  });

  test('cannot be managed through registration', async () => {
    const clientId = documents.publish(newPath());
    expect((await ask(clientId)).status).toBe(201);
    for (const door of [`${app.origin}/clients`, `${app.issuer}/reg`]) {
      for (const method of ['PUT', 'DELETE']) {
        const response = await fetch(`${door}/${encodeURIComponent(clientId)}`, {
          method,
          headers: { authorization: 'Bearer x', 'content-type': 'application/json' },
          body: JSON.stringify({ client_id: clientId, redirect_uris: ['https://evil.example/cb'] }),
        });
        expect([method, response.status]).toEqual([method, 401]);
      }
    }
    const facts = await fetch(`${app.origin}/clients/${encodeURIComponent(clientId)}`);
    expect(await facts.json()).toEqual({ client_id: clientId, client_name: 'Kestrel Assistant' });
  });
});

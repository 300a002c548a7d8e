/** Requests that a client makes this server send: to public addresses only, briefly, and little of the answer. */
import { randomUUID } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { endServer, listen } from '../support/listen.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import { authorizationUrl, post } from './protocol.ts';

/** A server inside the network, which counts who so much as connects to it. */
type Inside = { port: number; connections: number; close(): Promise<void> };

let app: TestApp;
let privateKey: CryptoKey;
let jwk: JWK;
let inside: Inside;

beforeAll(async () => {
  app = await startApp();
  const pair = await generateKeyPair('ES256', { extractable: true });
  privateKey = pair.privateKey;
  jwk = { ...(await exportJWK(pair.publicKey)), kid: 'key-of-the-client', alg: 'ES256', use: 'sig' };
  inside = await listenInside((_req, res) => res.end(keys()));
});
afterEach(() => {
  expect(inside.connections).toBe(0);
});
afterAll(async () => {
  await app.close();
  await inside.close();
});

const keys = () => JSON.stringify({ keys: [jwk] });

async function listenInside(handler: RequestListener): Promise<Inside> {
  const server = createServer(handler);
  const state: Inside = {
    port: await listen(server),
    connections: 0,
    close: () => endServer(server),
  };
  server.on('connection', () => {
    state.connections += 1;
  });
  return state;
}

function withKeysAt(server: TestApp, jwks_uri: string): Promise<Registration> {
  return registerClient(server, {
    redirect_uris: undefined,
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks_uri,
  });
}

/** Asks for a token with an assertion that the client's keys, once fetched, would prove. */
async function authenticate(server: TestApp, { client_id }: Registration) {
  const assertion = await new SignJWT({ iss: client_id, sub: client_id, aud: server.issuer, jti: randomUUID() })
    .setProtectedHeader({ alg: 'ES256', kid: 'key-of-the-client' })
    .setExpirationTime('1m')
    .sign(privateKey);
  return post(server, 'token', {
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
  });
}

const namesOfThisMachine = [
  '127.0.0.1',
  'localhost',
  '127.1',
  '2130706433',
  '0x7f000001',
  '0.0.0.0',
  '[::ffff:127.0.0.1]',
];

describe('nothing inside is connected to (SECURITY 38)', () => {
  test.each(namesOfThisMachine)('for keys at %s', async (host) => {
    const client = await withKeysAt(app, `http://${host}:${inside.port}/jwks`);
    const { status, body } = await authenticate(app, client);
    expect([status, body.access_token]).toEqual([body.error === 'invalid_client' ? 401 : 400, undefined]);
    expect(JSON.stringify(body)).not.toMatch(/ECONN|127\.|::|port|socket/i);
  });

  test.each(['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]'])('for a sector identifier at %s', async (host) => {
    for (const scheme of ['http', 'https']) {
      const metadata = {
        redirect_uris: ['https://a.example/cb', 'https://b.example/cb'],
        subject_type: 'pairwise',
        sector_identifier_uri: `${scheme}://${host}:${inside.port}/sector`,
      };
      const response = await fetch(`${app.origin}/clients`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(metadata),
      });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: 'invalid_client_metadata' });
    }
  });

  test('for a sector identifier in an update', async () => {
    const client = await registerClient(app);
    const response = await fetch(`${app.origin}/clients/${client.client_id}`, {
      method: 'PUT',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${client.registration_access_token}`,
      },
      body: JSON.stringify({
        client_id: client.client_id,
        redirect_uris: ['https://a.example/cb'],
        subject_type: 'pairwise',
        sector_identifier_uri: `https://127.0.0.1:${inside.port}/sector`,
      }),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error_description: expect.stringContaining('127.0.0.1 is not a public address'),
    });
  });

  test('for a request object: there are none by reference', async () => {
    const client = await registerClient(app);
    const request_uri = `http://127.0.0.1:${inside.port}/request`;
    const atAuth = await fetch(authorizationUrl(app, client, { request_uri }), { redirect: 'manual' });
    expect([atAuth.status, atAuth.headers.get('location')]).toEqual([400, null]);
    const pushed = await post(
      app,
      'request',
      { response_type: 'code', client_id: client.client_id, request_uri },
      client,
    );
    expect([pushed.status, pushed.body.error]).toEqual([400, 'request_uri_not_supported']);
  });

  test('for a logo, which is copied in the background', async () => {
    const own = await startApp();
    await registerClient(own, { logo_uri: `http://127.0.0.1:${inside.port}/logo.png` });
    await own.close();
    expect(inside.connections).toBe(0);
  });
});

describe('where the operator permits it', () => {
  let outside: Inside;
  let permitting: TestApp;

  beforeAll(async () => {
    outside = await listenInside((req, res) => {
      switch (req.url) {
        case '/jwks':
          return void res.setHeader('content-type', 'application/json').end(keys());
        case '/silent':
          return;
        case '/drip': {
          res.write(keys());
          const drip = setInterval(() => res.write(' '), 200);
          return void res.on('close', () => clearInterval(drip));
        }
        case '/large':
          return void res.end(keys() + ' '.repeat(64 * 1024));
        case '/large-in-chunks':
          res.write(keys());
          for (let i = 0; i < 65; i += 1) res.write(' '.repeat(1024));
          return void res.end();
        default:
          return void res.writeHead(302, { location: `http://127.0.0.1:${inside.port}/jwks` }).end();
      }
    });
    permitting = await startApp({ env: { OUTBOUND_ALLOW: 'localhost' } });
  });
  afterAll(async () => {
    await permitting.close();
    await outside.close();
  });

  const attempt = async (path: string) => {
    const client = await withKeysAt(permitting, `http://localhost:${outside.port}${path}`);
    const started = performance.now();
    const { status, body } = await authenticate(permitting, client);
    return { status, token: body.access_token, seconds: (performance.now() - started) / 1000 };
  };

  test('keys are fetched', async () => {
    expect(await attempt('/jwks')).toMatchObject({ status: 200, token: expect.any(String) });
    expect(outside.connections).toBeGreaterThan(0);
  });

  test.each(['/silent', '/drip'])('a server that keeps us waiting is left: %s (SECURITY 39)', async (path) => {
    const { status, token, seconds } = await attempt(path);
    expect([status, token]).toEqual([expect.toBeOneOf([400, 401]), undefined]);
    expect(seconds).toBeLessThan(5);
  });

  test.each(['/large', '/large-in-chunks'])(
    'of an answer no more than 64 KiB is read: %s (SECURITY 39)',
    async (path) => {
      const { status, token } = await attempt(path);
      expect([status, token]).toEqual([expect.toBeOneOf([400, 401]), undefined]);
    },
  );

  test('a redirect to where it does not is not followed (SECURITY 39)', async () => {
    const { status, token } = await attempt('/redirect');
    expect([status, token]).toEqual([expect.toBeOneOf([400, 401]), undefined]);
    expect(inside.connections).toBe(0);
  });
});

test('what may be reached is named in the log at start', async () => {
  const permitting = await startAppForTest({ env: { OUTBOUND_ALLOW: 'localhost,10.0.0.0/8' } });
  expect(permitting.log.map(({ allow }) => allow)).toContainEqual(['localhost', '10.0.0.0/8']);
});

/** Clients as strangers register them: what they may bring, and what of it reaches a person's browser. */
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createInitialAccessToken } from '../../src/clients/initial-access-tokens.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { listen } from '../support/listen.ts';
import { createPerson } from '../support/person.ts';
import { discover, type Registration, registerClient } from '../support/relying-party.ts';

const redirect_uris = ['https://a.example/cb'];

function register(app: { origin: string }, metadata: object, token?: string): Promise<Response> {
  return fetch(`${app.origin}/clients`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ redirect_uris, ...metadata }),
  });
}

describe('a logo (SECURITY 40)', () => {
  let app: TestApp;
  let pictures: Server;
  let port: number;
  let asked: string[];

  beforeAll(async () => {
    pictures = createServer((req, res) => {
      asked.push(req.url ?? '');
      res.setHeader('content-type', 'image/svg+xml');
      res.end('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>');
    });
    port = await listen(pictures);
    asked = [];
  });
  afterAll(() => {
    pictures.close();
  });

  const address = () => `http://127.0.0.1:${port}/logo.svg`;
  async function images(registration: Registration): Promise<string[]> {
    const page = await createPerson(app.origin).open((await (await discover(app, registration)).start()).url);
    return [...page.html.matchAll(/<img[^>]*src="([^"]*)"/g)].map(([, source = '']) => source);
  }

  test('at a private address is not fetched, and no browser is sent there either', async () => {
    app = await startApp();
    const registration = await registerClient(app, { logo_uri: address() });
    expect(await images(registration)).toEqual([]);
    // Waits for what was begun in the background.
    await app.close();
    expect(asked).toEqual([]);
  });

  test('that may be fetched is copied, and shown from here, where it can do nothing', async () => {
    app = await startAppForTest({ env: { OUTBOUND_ALLOW: '127.0.0.1' } });
    const registration = await registerClient(app, { logo_uri: address() });
    const own = `/clients/${registration.client_id}/logo`;
    const response = await vi.waitFor(async () => {
      const copy = await fetch(app.origin + own);
      expect(copy.status).toBe(200);
      return copy;
    });
    expect(await images(registration)).toEqual([own]);
    expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none';.*sandbox$/);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(asked).toEqual(['/logo.svg']);
  });

  test('that is no web address is refused, and so are links like it', async () => {
    app = await startAppForTest();
    for (const uri of ['javascript:alert(1)', 'data:image/svg+xml,<svg/>', 'ftp://a.example/x', '//a.example/x', 'x']) {
      for (const name of ['logo_uri', 'client_uri', 'policy_uri', 'tos_uri']) {
        const response = await register(app, { [name]: uri });
        expect([name, uri, response.status]).toEqual([name, uri, 400]);
        expect(await response.json()).toMatchObject({ error: 'invalid_client_metadata' });
      }
    }
  });

  test('in production is https', async () => {
    app = await startAppForTest({ env: { NODE_ENV: 'production', CLIENT_REGISTRATION: 'open' } });
    expect((await register(app, { logo_uri: 'http://a.example/logo.png' })).status).toBe(400);
    expect((await register(app, { logo_uri: 'https://a.example/logo.png' })).status).toBe(201);
  });
});

describe('registration (SECURITY 41)', () => {
  test('in production needs a token of the operator, unless told otherwise', async () => {
    const app = await startAppForTest({ env: { NODE_ENV: 'production' } });
    for (const token of [undefined, 'made-up', '']) {
      const response = await register(app, {}, token);
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toMatch(/^Bearer /);
    }
    const token = await createInitialAccessToken(app.database.db, { uses: 1 });
    const answers = await Promise.all([register(app, {}, token), register(app, {}, token), register(app, {}, token)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 401, 401]);
  });

  test('that is closed is closed to tokens too', async () => {
    const app = await startAppForTest({ env: { CLIENT_REGISTRATION: 'closed' } });
    const token = await createInitialAccessToken(app.database.db, {});
    for (const given of [undefined, token]) {
      const response = await register(app, {}, given);
      expect(response.status).toBe(403);
      expect(await response.json()).toMatchObject({ error: 'registration_closed' });
    }
  });

  test('leaves out what is not metadata, and nobody gives themselves a name, a secret or a status', async () => {
    const app = await startAppForTest();
    const response = await register(app, {
      client_id: 'chosen',
      client_secret: 'chosen-secret-chosen-secret',
      registration_access_token: 'chosen',
      first_party: true,
      unverified: false,
      is_admin: true,
      __proto__: { first_party: true },
    });
    expect(response.status).toBe(201);
    const answer = (await response.json()) as Record<string, unknown>;
    expect(JSON.stringify(answer)).not.toContain('chosen');
    for (const name of ['first_party', 'unverified', 'is_admin']) expect(answer).not.toHaveProperty(name);
  });

  test('shows strangers what the consent page shows, and the secret to nobody again', async () => {
    const app = await startAppForTest();
    const registration = await registerClient(app, { client_uri: 'https://a.example/', contacts: ['ops@a.example'] });
    const address = `${app.origin}/clients/${registration.client_id}`;
    const open = (await (await fetch(address)).json()) as object;
    expect(Object.keys(open).sort()).toEqual(['client_id', 'client_name', 'client_uri']);
    const headers = { authorization: `Bearer ${registration.registration_access_token}` };
    const own = (await (await fetch(address, { headers })).json()) as object;
    expect(own).toMatchObject({ redirect_uris: [`${app.origin}/callback`], contacts: ['ops@a.example'] });
    expect(own).not.toHaveProperty('client_secret');
  });

  test('manages with its own token alone', async () => {
    const app = await startAppForTest();
    const [mine, theirs] = [await registerClient(app), await registerClient(app)];
    const headers = { authorization: `Bearer ${mine.registration_access_token}`, 'content-type': 'application/json' };
    const address = `${app.origin}/clients/${theirs.client_id}`;
    const body = JSON.stringify({ client_id: theirs.client_id, redirect_uris: ['https://evil.example/cb'] });
    const statuses = [
      await fetch(address, { headers }),
      await fetch(address, { method: 'PUT', headers, body }),
      await fetch(address, { method: 'DELETE', headers }),
      await fetch(`${address}/secret`, { method: 'POST', headers, body: '{}' }),
      await fetch(`${app.origin}/clients/c_unknown`, { method: 'DELETE', headers }),
    ].map(({ status }) => status);
    expect(statuses).toEqual([401, 401, 401, 401, 401]);
    expect((await fetch(address)).status).toBe(200);
  });
});

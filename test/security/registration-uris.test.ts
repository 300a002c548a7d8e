/** What becomes the target of a redirect is vetted at every door through which a client comes in (SECURITY 3). */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { throttles } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';

let database: TestDatabase;
let development: TestApp;
let production: TestApp;
let client: Registration;

beforeAll(async () => {
  database = await createTestDatabase();
  development = await startApp({ database });
  production = await startApp({ database, env: { NODE_ENV: 'production', CLIENT_REGISTRATION: 'open' } });
  client = await registerClient(development);
});
afterAll(async () => {
  await development.close();
  await production.close();
  await database.drop();
});

// Every try counts against one address.
beforeEach(async () => {
  await development.database.db.delete(throttles);
});

type Refusal = { status: number; error: unknown };

async function send(url: string, init: { method: string; body: object; token?: string }): Promise<Refusal> {
  const response = await fetch(url, {
    method: init.method,
    headers: { 'content-type': 'application/json', ...(init.token && { authorization: `Bearer ${init.token}` }) },
    body: JSON.stringify(init.body),
  });
  const body = (await response.json()) as { error?: string };
  return { status: response.status, error: body.error };
}

/** Every door of a server, for the same metadata. */
async function atEveryDoor(app: TestApp, metadata: object): Promise<Refusal[]> {
  const { client_id, registration_access_token: token } = client;
  const answers: Refusal[] = [];
  for (const door of [`${app.origin}/clients`, `${app.issuer}/reg`]) {
    answers.push(await send(door, { method: 'POST', body: metadata }));
    answers.push(await send(`${door}/${client_id}`, { method: 'PUT', body: { client_id, ...metadata }, token }));
  }
  return answers;
}

const refused = (error: string): Refusal[] => Array(4).fill({ status: 400, error });

describe.each(['redirect_uris', 'post_logout_redirect_uris'])('%s', (member) => {
  const error = member === 'redirect_uris' ? 'invalid_redirect_uri' : 'invalid_client_metadata';
  const metadata = (uri: unknown) => ({ redirect_uris: ['https://client.example/cb'], [member]: [uri] });

  test('must not run, show or open anything, nor have a fragment, nor hide its host', async () => {
    const uris = [
      'javascript:alert(1)',
      'data:text/html,hello',
      'https://client.example/cb#top',
      'https://user@client.example/cb',
    ];
    for (const uri of uris) expect(await atEveryDoor(development, metadata(uri)), uri).toEqual(refused(error));
  });

  test('must be https in production, loopback apart', async () => {
    for (const uri of ['http://client.example/cb', 'http://10.0.0.1/cb', 'http://localhost.evil.example/cb']) {
      expect(await atEveryDoor(production, metadata(uri)), uri).toEqual(refused(error));
    }
    const local = await send(`${production.origin}/clients`, { method: 'POST', body: metadata('http://127.0.0.1/cb') });
    expect(local.status).toBe(201);
  });
});

test('a native app is no way round', async () => {
  for (const uri of ['javascript:alert(1)', 'data:text/html,x', 'com.example.app:/cb#x', 'http://client.example/cb']) {
    const metadata = { application_type: 'native', redirect_uris: [uri] };
    expect(await atEveryDoor(production, metadata), uri).toEqual(refused('invalid_redirect_uri'));
  }
});

test('a refused change leaves the client as it was', async () => {
  await atEveryDoor(development, { redirect_uris: ['javascript:alert(1)'] });
  const response = await fetch(`${development.origin}/clients/${client.client_id}`, {
    headers: { authorization: `Bearer ${client.registration_access_token}` },
  });
  expect(await response.json()).toMatchObject({ redirect_uris: [`${development.origin}/callback`] });
});

/** The `scope` of a client that registers itself (RFC 7591 §2), as MCP clients send it: the scopes of the server they are for. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApi } from '../../src/apis/apis.ts';
import { issueTokens, signedInPerson } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';

const notes = 'https://notes.example/mcp';
let app: TestApp;

beforeAll(async () => {
  app = await startApp();
  const { db } = app.database;
  await createApi(db, { identifier: notes, name: 'Notes', scopes: { 'notes:read': 'Read' }, anyClient: true });
  await createApi(db, { identifier: 'https://payroll.example', name: 'Payroll', scopes: { 'payroll:read': 'Read' } });
});
afterAll(() => app.close());

type Registered = Registration & { scope?: string };

async function send(url: string, method: string, metadata: object, token?: string) {
  const response = await fetch(url, {
    method,
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ client_name: 'Assistant', redirect_uris: [`${app.origin}/callback`], ...metadata }),
  });
  return { status: response.status, body: (await response.json()) as Registered & { error?: string } };
}

test.each(['/clients', '/oidc/reg'])(
  '%s takes scopes that any client may ask for, and keeps the others',
  async (door) => {
    const register = (scope: string) => send(app.origin + door, 'POST', { scope });
    const { status, body } = await register('notes:read');
    expect(status).toBe(201);
    expect(body).not.toHaveProperty('scope');
    expect((await register('openid notes:read email')).body.scope).toBe('openid email');
    for (const scope of ['notes:read payroll:read', 'notes:read unheard-of', 'notes:read ']) {
      expect([scope, await register(scope)]).toMatchObject([scope, { body: { error: 'invalid_client_metadata' } }]);
    }

    const { client_id, registration_access_token: token } = body;
    const update = { client_id, scope: 'openid notes:read' };
    const changed = await send(`${app.origin}${door}/${client_id}`, 'PUT', update, token);
    expect(changed).toMatchObject({ status: 200, body: { scope: 'openid' } });
  },
);

test('such a client may later ask for more than it named', async () => {
  const client = await registerClient(app, { token_endpoint_auth_method: 'none', scope: 'notes:read' });
  const request = { scope: 'notes:read offline_access', prompt: 'consent', resource: notes };
  const tokens = await issueTokens(app, client, await signedInPerson(app), request);
  expect(tokens).toMatchObject({ refresh_token: expect.any(String), scope: 'notes:read' });
});

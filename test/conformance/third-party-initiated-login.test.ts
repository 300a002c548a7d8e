/** OpenID Foundation, `oidcc-3rdparty-init-login-certification-test-plan`. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redirectUri, type Suite, startSuite } from './harness.ts';
import { type Answer, send } from './http.ts';

let suite: Suite;

beforeAll(async () => {
  suite = await startSuite();
});
afterAll(() => suite.app.close());

/** Dynamic registration where discovery says (RFC 7591). */
function registerWith(initiate_login_uri: string): Promise<Answer> {
  return send(String(suite.metadata.registration_endpoint), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_name: 'Conformance suite', redirect_uris: [redirectUri], initiate_login_uri }),
  });
}

test('oidcc-3rd_party-init-login: initiate_login_uri is stored, and read back from the registration_client_uri', async () => {
  const initiateLoginUri = 'https://suite.example/test/a/latchkey/initiate-login';
  const registered = await registerWith(initiateLoginUri);
  expect(registered.status).toBe(201);
  expect(registered.json).toMatchObject({ initiate_login_uri: initiateLoginUri });

  const { client_id, registration_client_uri, registration_access_token } = registered.json;
  const read = await send(String(registration_client_uri), {
    headers: { authorization: `Bearer ${registration_access_token}` },
  });
  expect(read.status).toBe(200);
  expect(read.headers.get('content-type')).toMatch(/^application\/json\b/);
  expect(read.json).toMatchObject({ client_id, initiate_login_uri: initiateLoginUri, redirect_uris: [redirectUri] });
});

test('oidcc-3rd_party-init-login-nohttps: an initiate_login_uri that is not https is refused', async () => {
  for (const uri of ['http://suite.example/test/a/latchkey/initiate-login', 'http://localhost/initiate-login']) {
    const { status, json } = await registerWith(uri);
    expect([uri, status, json.error]).toEqual([uri, 400, 'invalid_client_metadata']);
    expect(json).not.toHaveProperty('client_id');
  }
});

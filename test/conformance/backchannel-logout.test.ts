/** OpenID Foundation, `oidcc-backchannel-rp-initiated-logout-certification-test-plan`. */
import { randomBytes } from 'node:crypto';
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LogoutReceiver, startLogoutReceiver } from '../support/logout-receiver.ts';
import { endSession } from './end-session.ts';
import { expectError, readKeys } from './expectations.ts';
import {
  authorize,
  completeFlow,
  newPerson,
  newRequest,
  postLogoutRedirectUri,
  register,
  type Suite,
  startSuite,
} from './harness.ts';

let suite: Suite;
let receiver: LogoutReceiver;

beforeAll(async () => {
  receiver = await startLogoutReceiver();
  suite = await startSuite({ env: { OUTBOUND_ALLOW: '127.0.0.1' } });
});
afterAll(async () => {
  await suite.app.close();
  await receiver.close();
});

test('oidcc-backchannel-logout-discovery-endpoint-verification: back-channel logout with sessions, and where to end one', () => {
  expect(suite.metadata).toMatchObject({
    backchannel_logout_supported: true,
    backchannel_logout_session_supported: true,
  });
  expect(URL.canParse(suite.metadata.end_session_endpoint)).toBe(true);
});

test('oidcc-backchannel-rp-initiated-logout: the client is told, the browser comes back, and nobody is signed in', async () => {
  const client = await register(suite, {
    post_logout_redirect_uris: [postLogoutRedirectUri],
    backchannel_logout_uri: receiver.uri,
    backchannel_logout_session_required: true,
  });
  const person = newPerson(suite);
  const { tokens, claims: idToken } = await completeFlow(suite, newRequest(client), { person });
  const state = randomBytes(16).toString('base64url');
  const { left } = await endSession(suite, person, {
    id_token_hint: tokens.id_token,
    post_logout_redirect_uri: postLogoutRedirectUri,
    state,
  });

  const token = await receiver.next();
  expect([...(receiver.received[0]?.body.keys() ?? [])]).toEqual(['logout_token']);
  expect(decodeProtectedHeader(token).alg).toBe(decodeProtectedHeader(tokens.id_token).alg);
  const { payload } = await jwtVerify(token, createLocalJWKSet(await readKeys(suite)), {
    issuer: suite.issuer,
    audience: client.client_id,
    requiredClaims: ['iat', 'exp', 'jti'],
    maxTokenAge: '5m',
    clockTolerance: 5,
  });
  expect(payload.events).toEqual({ 'http://schemas.openid.net/event/backchannel-logout': {} });
  expect(payload).toMatchObject({ sub: idToken.sub, sid: idToken.sid });
  expect(payload.sid).toEqual(expect.any(String));
  expect(payload).not.toHaveProperty('nonce');

  expect(left?.href).toBe(`${postLogoutRedirectUri}?state=${state}`);
  const request = newRequest(client, { prompt: 'none' });
  const answer = await authorize(suite, request.parameters, { person });
  expectError(suite, request, answer, ['login_required', 'interaction_required', 'account_selection_required']);
});

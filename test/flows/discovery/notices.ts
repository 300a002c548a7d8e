/** What the server fetches from a client, or sends to it, by itself. */
import { createServer } from 'node:http';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { expect } from 'vitest';
import { endSession } from '../../conformance/end-session.ts';
import { readKeys } from '../../conformance/expectations.ts';
import { completeFlow, newPerson, redirectUri } from '../../conformance/harness.ts';
import type { Client } from '../../conformance/http.ts';
import { endServer, listen } from '../../support/listen.ts';
import { startLogoutReceiver } from '../../support/logout-receiver.ts';
import type { Members, World } from './world.ts';

export const notices: Members = {
  backchannel_logout_supported: async (world, supported) => {
    expect(supported).toBe(true);
    const { sub } = await logoutToken(world, {});
    expect(sub).toBe(world.account.sub);
  },
  backchannel_logout_session_supported: async (world, supported) => {
    expect(supported).toBe(true);
    const { sid, idToken } = await logoutToken(world, { backchannel_logout_session_required: true });
    expect(sid).toEqual(expect.any(String));
    expect(sid).toBe(idToken.sid);
  },
  client_id_metadata_document_supported: async (world, supported) => {
    expect(supported).toBe(true);
    const server = createServer((_req, res) => {
      res.setHeader('content-type', 'application/json');
      res.end(
        JSON.stringify({
          client_id,
          client_name: 'From a document',
          redirect_uris: [redirectUri],
          token_endpoint_auth_method: 'none',
        }),
      );
    });
    const client_id = `http://127.0.0.1:${await listen(server)}/client.json`;
    const client: Client = { client_id, token_endpoint_auth_method: 'none' };
    const { claims } = await world.signIn({}, client);
    expect(claims.aud).toBe(client_id);
    await endServer(server);
  },
};

/** Signs somebody in and out again; answers the claims of the logout token that the client gets (Back-Channel §2.4). */
async function logoutToken(world: World, metadata: Record<string, unknown>) {
  const receiver = await startLogoutReceiver();
  const client = await world.register({ backchannel_logout_uri: receiver.uri, ...metadata });
  const person = newPerson(world);
  const { claims: idToken } = await completeFlow(world, world.request({}, client), { person });
  await endSession(world, person, {});
  const token = await receiver.next();
  await receiver.close();
  const { payload } = await jwtVerify(token, createLocalJWKSet(await readKeys(world)), {
    typ: 'logout+jwt',
    issuer: world.issuer,
    audience: client.client_id,
    requiredClaims: ['iat', 'exp', 'jti', 'events'],
  });
  expect(payload.events).toEqual({ 'http://schemas.openid.net/event/backchannel-logout': {} });
  return { sub: payload.sub, sid: payload.sid, idToken };
}

/** Each endpoint answers its protocol, and each way to authenticate at it works. */
import { expect } from 'vitest';
import { endSession } from '../../conformance/end-session.ts';
import { expectCode, expectTokens, readKeys } from '../../conformance/expectations.ts';
import { completeFlow, newPerson, redeem } from '../../conformance/harness.ts';
import { type Client, post, send } from '../../conformance/http.ts';
import { issuedClient, selfSignedClient } from './certificates.ts';
import { type Exerciser, expectJson, type Members, type World } from './world.ts';

const authMethods: Record<string, (world: World) => Promise<Client>> = {
  none: (world) => world.once('public client', () => world.register({ token_endpoint_auth_method: 'none' })),
  client_secret_basic: async (world) => world.client,
  client_secret_post: (world) =>
    world.once('posting client', () => world.register({ token_endpoint_auth_method: 'client_secret_post' })),
  private_key_jwt: (world) => world.clientWithKeys('ES256'),
  self_signed_tls_client_auth: selfSignedClient,
  tls_client_auth: issuedClient,
};

export const endpoints: Members = {
  authorization_endpoint: async (world) => {
    const request = world.request();
    expectCode(world, request, await world.authorize(request.parameters));
  },
  token_endpoint: async (world) => {
    const request = world.request();
    const code = expectCode(world, request, await world.authorize(request.parameters));
    expectTokens(await redeem(world, request, code));
  },
  token_endpoint_auth_methods_supported: authenticating(async (world, client) => {
    const { tokens } = await world.signIn({}, client);
    expect(tokens.access_token).toBeTruthy();
  }),
  userinfo_endpoint: async (world) => {
    const { tokens, claims } = await world.signIn();
    expect(expectJson(await world.userinfo(tokens.access_token))).toEqual({ sub: claims.sub });
  },
  jwks_uri: async (world) => expect((await readKeys(world)).keys.length).toBeGreaterThan(0),
  introspection_endpoint: async (world) => {
    const { tokens } = await world.signIn();
    expect(expectJson(await world.introspect(tokens.access_token))).toMatchObject({ active: true });
  },
  introspection_endpoint_auth_methods_supported: authenticating(async (world, client) => {
    expect(expectJson(await world.introspect('nothing', client))).toEqual({ active: false });
  }),
  revocation_endpoint: async (world) => {
    const { tokens } = await world.signIn();
    const answer = await post(world.metadata.revocation_endpoint, { token: tokens.access_token }, world.client);
    expect(answer.status, answer.text).toBe(200);
    expect(expectJson(await world.introspect(tokens.access_token))).toEqual({ active: false });
  },
  revocation_endpoint_auth_methods_supported: authenticating(async (world, client) => {
    const { tokens } = await world.signIn({}, client);
    const answer = await post(world.metadata.revocation_endpoint, { token: tokens.access_token }, client);
    expect(answer.status, answer.text).toBe(200);
    expect((await world.userinfo(tokens.access_token)).status).toBe(401);
  }),
  pushed_authorization_request_endpoint: async (world) => {
    const request = world.request();
    const pushed = expectJson(await world.push(request), 201);
    const parameters = { client_id: world.client.client_id, request_uri: String(pushed.request_uri) };
    expectTokens(await redeem(world, request, expectCode(world, request, await world.authorize(parameters))));
  },
  end_session_endpoint: async (world) => {
    const person = newPerson(world);
    await completeFlow(world, world.request(), { person });
    expect((await endSession(world, person, {})).html).toContain('signed out');
    const request = world.request({ prompt: 'none' });
    const page = await person.open(
      `${world.metadata.authorization_endpoint}?${new URLSearchParams(request.parameters)}`,
    );
    expect(page.left?.searchParams.get('error')).toBe('login_required');
  },
  registration_endpoint: async (world, endpoint) => {
    const metadata = { redirect_uris: ['https://suite.example/test/a/latchkey/callback'], client_name: 'Second door' };
    const headers = { 'content-type': 'application/json' };
    const answer = await send(endpoint, { method: 'POST', headers, body: JSON.stringify(metadata) });
    const client = expectJson(answer, 201) as Client & Record<'registration_client_uri', string>;
    await world.signIn({}, client);
    const authorization = `Bearer ${client.registration_access_token}`;
    const own = { headers: { authorization } };
    expect(expectJson(await send(client.registration_client_uri, own))).toMatchObject(metadata);
    expect((await send(client.registration_client_uri, { ...own, method: 'DELETE' })).status).toBe(204);
    expect((await send(client.registration_client_uri, own)).status).toBe(401);
  },
};

function authenticating(exercise: (world: World, client: Client) => Promise<void>): Record<string, Exerciser> {
  return Object.fromEntries(
    Object.entries(authMethods).map(([method, clientFor]) => [
      method,
      async (world: World) => {
        const client = await clientFor(world);
        expect(client.token_endpoint_auth_method).toBe(method);
        await exercise(world, client);
      },
    ]),
  );
}

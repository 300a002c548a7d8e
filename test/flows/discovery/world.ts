/** What the exercisers of discovery share: one server with everything on, a person at a browser, and clients. */
import { createLocalJWKSet, type JWTPayload, jwtVerify } from 'jose';
import { expect } from 'vitest';
import { readKeys } from '../../conformance/expectations.ts';
import {
  type AuthorizationRequest,
  authorize,
  completeFlow,
  newPerson,
  newPkceRequest,
  readMetadata,
  register,
  startSuite,
} from '../../conformance/harness.ts';
import { type Answer, type Client, type Fields, post, send } from '../../conformance/http.ts';
import { createApis } from './apis.ts';
import { type ClientKey, createClientKeys, signAs } from './client-keys.ts';

/** Shows that a value of the metadata is true. */
export type Exerciser = (world: World, value: never) => Promise<void>;

/** For each member one exerciser, or one for each of its values. */
export type Members = Record<string, Exerciser | Record<string, Exerciser>>;

export type World = Awaited<ReturnType<typeof createWorld>>;

const everyScope = 'openid profile email address phone';

export async function createWorld(env: Record<string, string> = {}) {
  const started = await startSuite({ env });
  await createApis(started.app);
  const suite = { ...started, metadata: await readMetadata(started.app) };
  const { metadata } = suite;
  const person = newPerson(suite);
  const keys = createClientKeys();
  const client = await register(suite);
  const memory = new Map<string, Promise<unknown>>();

  const world = {
    ...suite,
    person,
    keys,
    /** A confidential client that asks for nothing special. */
    client,
    register: (more: Record<string, unknown> = {}) => register(suite, more),
    /** Made once, when first needed: every registration costs a bcrypt hash, and there may be 30 a minute. */
    once<T>(name: string, make: () => Promise<T>): Promise<T> {
      if (!memory.has(name)) memory.set(name, make());
      return memory.get(name) as Promise<T>;
    },

    request: (changes: Fields = {}, by: Client = client) => newPkceRequest(by, changes),
    authorize: (parameters: Record<string, string>) => authorize(suite, parameters, { person }),
    /** A whole sign-in in the person's browser: verified ID token, tokens, what the person was asked. */
    signIn: (changes: Fields = {}, by: Client = client, headers: Record<string, string> = {}) =>
      completeFlow(suite, newPkceRequest(by, changes), { person, headers }),
    /** A sign-in with every scope, and userinfo for it. */
    signInWithEverything: () =>
      world.once('everything', async () => {
        const claims = JSON.stringify({ id_token: { sid: null } });
        const flow = await world.signIn({ scope: everyScope, claims });
        return { idToken: flow.claims, userinfo: (await world.userinfo(flow.tokens.access_token)).json };
      }),
    userinfo: (accessToken: string, headers: Record<string, string> = {}) =>
      send(metadata.userinfo_endpoint, { headers: { authorization: `Bearer ${accessToken}`, ...headers } }),
    token: (parameters: Fields, by: Client = client, headers: Record<string, string> = {}) =>
      post(metadata.token_endpoint, parameters, by, headers),
    introspect: (token: string, by: Client = client, headers: Record<string, string> = {}) =>
      post(metadata.introspection_endpoint, { token }, by, headers),
    push: (request: AuthorizationRequest) =>
      post(metadata.pushed_authorization_request_endpoint, request.parameters, request.client),

    /** A client that authenticates by assertions, signed with `alg`; one registration serves all algorithms. */
    async clientWithKeys(alg: string): Promise<Client> {
      const jwks = { keys: Object.values(keys).map(({ publicJwk }) => publicJwk) };
      const registered = await world.once('client with keys', () =>
        world.register({ token_endpoint_auth_method: 'private_key_jwt', jwks }),
      );
      const authenticate: Client['authenticate'] = async ({ body }) => {
        body.set('client_id', registered.client_id);
        body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
        const claims = { iss: registered.client_id, sub: registered.client_id, aud: suite.issuer };
        body.set('client_assertion', await signAs(world.keyFor(alg), alg, claims));
      };
      return { ...registered, authenticate };
    },
    keyFor(alg: string): ClientKey {
      if (/^[RP]S/.test(alg)) return keys.rsa;
      return alg === 'ES256' ? keys.ec : keys.ed25519;
    },
    /** A client for which the server signs everything it can with `alg`. */
    clientSignedFor: (alg: string) =>
      world.once(`client for ${alg}`, () =>
        world.register({
          ...given(metadata.id_token_signing_alg_values_supported, { id_token_signed_response_alg: alg }),
          ...given(metadata.userinfo_signing_alg_values_supported, { userinfo_signed_response_alg: alg }),
          ...given(metadata.introspection_signing_alg_values_supported, { introspection_signed_response_alg: alg }),
          ...given(metadata.authorization_signing_alg_values_supported, { authorization_signed_response_alg: alg }),
        }),
      ),
    /** Verifies what the server signed with `alg` for a client, with a key of its JWKS; answers the claims. */
    async verify(jwt: string, alg: string, by: Client): Promise<JWTPayload & Record<string, unknown>> {
      const keySet = createLocalJWKSet(await readKeys(suite));
      const expected = { algorithms: [alg], issuer: suite.issuer, audience: by.client_id };
      return (await jwtVerify(jwt, keySet, expected)).payload;
    },
  };
  return world;
}

function given<T extends object>(advertised: unknown, members: T): Partial<T> {
  return advertised === undefined ? {} : members;
}

/** Asserts an answer that says yes in JSON. */
export function expectJson({ status, headers, text, json }: Answer, status_ = 200): Record<string, unknown> {
  expect(status, text).toBe(status_);
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  return json;
}

/** What a token is good for, and who may ask about it, end it, or get one in which way. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  authorizationUrl,
  issueCode,
  issueTokens,
  post,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  userinfoStatus,
} from './protocol.ts';

let app: TestApp;
let client: Registration;
let other: Registration;
let machine: Registration;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  client = await registerClient(app);
  other = await registerClient(app);
  machine = await registerClient(app, { grant_types: ['client_credentials'], redirect_uris: undefined });
  signedIn = await signedInPerson(app);
});
afterAll(() => app.close());

const notActive = { status: 200, body: { active: false } };

function introspect(who: Registration, token: string, hint?: string) {
  return post(app, 'introspection', { token, token_type_hint: hint }, who);
}

describe('introspection', () => {
  test('tells a client of its own tokens', async () => {
    const { access_token, refresh_token } = await issueTokens(app, client, signedIn);
    const facts = { active: true, client_id: client.client_id, sub: signedIn.account.sub, iss: app.issuer };
    for (const hint of [undefined, 'access_token', 'refresh_token', 'nonsense']) {
      expect((await introspect(client, access_token, hint)).body).toMatchObject(facts);
      expect((await introspect(client, refresh_token, hint)).body).toMatchObject(facts);
    }
  });

  test('tells others nothing: to them it is not active', async () => {
    const { access_token, refresh_token } = await issueTokens(app, client, signedIn);
    for (const token of [access_token, refresh_token, 'x', 'a\0b']) {
      const { status, body } = await introspect(other, token);
      expect({ status, body }).toEqual(notActive);
    }
  });

  test('answers nobody who does not authenticate', async () => {
    const { access_token } = await issueTokens(app, client, signedIn, {});
    expect((await post(app, 'introspection', { token: access_token })).status).toBe(400);
    for (const client_secret of ['', 'guess']) {
      const asked = await post(app, 'introspection', {
        token: access_token,
        client_id: client.client_id,
        client_secret,
      });
      expect([asked.status, asked.body.error, asked.body.active]).toEqual([401, 'invalid_client', undefined]);
    }
  });
});

describe('revocation', () => {
  test('ends a client’s own token', async () => {
    const tokens = await issueTokens(app, client, signedIn);
    expect((await post(app, 'revocation', { token: tokens.refresh_token }, client)).status).toBe(200);
    expect((await refresh(app, client, tokens.refresh_token)).body.error).toBe('invalid_grant');
    expect(await userinfoStatus(app, tokens.access_token)).toBe(401);
  });

  test('by anybody else answers alike and ends nothing', async () => {
    const tokens = await issueTokens(app, client, signedIn);
    for (const token of [tokens.access_token, tokens.refresh_token, 'unknown']) {
      const { status, body } = await post(app, 'revocation', { token }, other);
      expect({ status, body }).toEqual({ status: 200, body: {} });
    }
    const { client_id } = client;
    expect((await post(app, 'revocation', { token: tokens.access_token, client_id })).status).toBe(401);
    expect(await userinfoStatus(app, tokens.access_token)).toBe(200);
    expect((await refresh(app, client, tokens.refresh_token)).status).toBe(200);
  });

  test('works for a public client, which has only its id to show', async () => {
    const open = await registerClient(app, { token_endpoint_auth_method: 'none' });
    const { access_token } = await issueTokens(app, open, signedIn, {});
    expect((await post(app, 'revocation', { token: access_token }, open)).status).toBe(200);
    expect(await userinfoStatus(app, access_token)).toBe(401);
  });
});

describe('an access token (SECURITY 45)', () => {
  test('without openid is not for userinfo', async () => {
    const machineToken = await post(app, 'token', { grant_type: 'client_credentials' }, machine);
    expect(machineToken.status).toBe(200);
    expect(await userinfoStatus(app, String(machineToken.body.access_token))).toBe(401);
  });
});

describe('grants and responses (SECURITY 46)', () => {
  test('discovery names what there is, and neither implicit nor password is', async () => {
    const response = await fetch(`${app.issuer}/.well-known/openid-configuration`);
    const discovery = (await response.json()) as Record<string, string[]>;
    expect(discovery.response_types_supported).toEqual(['code']);
    expect(discovery.grant_types_supported).not.toContain('implicit');
    expect(discovery.grant_types_supported).not.toContain('password');
    const modes = discovery.response_modes_supported?.filter((mode) => !/\bjwt$/.test(mode));
    expect(modes?.toSorted()).toEqual(['form_post', 'fragment', 'query']);
    expect(discovery.token_endpoint_auth_methods_supported).not.toContain('client_secret_jwt');
    const algorithms = Object.entries(discovery).filter(([name]) => /_alg_values_supported$/.test(name));
    for (const [name, values] of algorithms) expect(values.join(), name).not.toMatch(/none|HS\d/);
  });

  test.each(['token', 'id_token', 'id_token token', 'code token', 'code id_token', 'code id_token token', 'none'])(
    'response_type %s is refused',
    async (response_type) => {
      const url = authorizationUrl(app, client, { response_type, nonce: 'n' });
      const location = (await signedIn.person.request(url)).headers.get('location') ?? '';
      expect(location).toContain('error=unsupported_response_type');
      expect(location).not.toMatch(/[?#&](access_token|id_token|code)=/);
    },
  );

  test.each(['password', 'implicit', 'urn:ietf:params:oauth:grant-type:jwt-bearer', 'x', ''])(
    'grant_type %j is refused',
    async (grant_type) => {
      const { email: username, password } = signedIn.account;
      const { status, body } = await post(app, 'token', { grant_type, username, password }, client);
      expect([status, body.access_token]).toEqual([400, undefined]);
      expect(body.error).toBe(grant_type ? 'unsupported_grant_type' : 'invalid_request');
    },
  );

  test.each<[string, Record<string, unknown>]>([
    ['the implicit grant', { grant_types: ['implicit'], response_types: ['id_token'] }],
    ['an implicit response', { response_types: ['id_token token'] }],
    ['a hybrid response', { response_types: ['code id_token'] }],
    ['the password grant', { grant_types: ['password'] }],
    ['authentication by a shared-key assertion', { token_endpoint_auth_method: 'client_secret_jwt' }],
    ['ID tokens without a signature', { id_token_signed_response_alg: 'none' }],
    ['ID tokens signed with the secret', { id_token_signed_response_alg: 'HS256' }],
  ])('no client can register for %s', async (_kind, metadata) => {
    const response = await fetch(`${app.origin}/clients`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ redirect_uris: ['https://client.example/cb'], ...metadata }),
    });
    expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([
      400,
      'invalid_client_metadata',
    ]);
  });

  test('a client has the grants it registered for and no others', async () => {
    const codeOnly = await registerClient(app, { grant_types: ['authorization_code'] });
    const asMachine = await post(app, 'token', { grant_type: 'client_credentials' }, codeOnly);
    expect([asMachine.status, asMachine.body.access_token]).toEqual([400, undefined]);
    const issued = await issueCode(app, codeOnly, signedIn, { scope: 'openid offline_access', prompt: 'consent' });
    expect((await redeem(app, codeOnly, issued)).body.refresh_token).toBeUndefined();
    const { refresh_token } = await issueTokens(app, client, signedIn);
    expect((await refresh(app, codeOnly, refresh_token)).status).toBe(400);
    const machineCode = await redeem(app, machine, await issueCode(app, client, signedIn));
    expect([machineCode.status, machineCode.body.access_token]).toEqual([400, undefined]);
  });

  test('a client without the code grant gets nobody’s sign-in', async () => {
    const response = await signedIn.person.request(authorizationUrl(app, machine));
    expect([response.status, response.headers.get('location')]).toEqual([400, null]);
  });
});

describe('a client cannot pass for a person (SECURITY 47)', () => {
  test('its own token names no person', async () => {
    const { body } = await post(app, 'token', { grant_type: 'client_credentials' }, machine);
    const facts = (await introspect(machine, String(body.access_token))).body;
    expect(facts).toMatchObject({ active: true, client_id: machine.client_id, sub: machine.client_id });
    expect(body).not.toHaveProperty('id_token');
  });

  test('its id is given to it, in another form than a sub', async () => {
    const { sub } = signedIn.account;
    const impostor = await registerClient(app, { client_id: sub });
    expect(impostor.client_id).not.toBe(sub);
    expect([impostor.client_id.slice(0, 2), sub.slice(0, 2)]).toEqual(['c_', 'u_']);
    const renamed = await fetch(`${app.origin}/clients/${impostor.client_id}`, {
      method: 'PUT',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${impostor.registration_access_token}`,
      },
      body: JSON.stringify({ client_id: sub, redirect_uris: ['https://client.example/cb'] }),
    });
    expect(renamed.status).toBe(400);
  });
});

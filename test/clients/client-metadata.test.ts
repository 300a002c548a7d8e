import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { needsSecret, validateMetadata } from '../../src/clients/client-metadata.ts';
import type { ClientDependencies } from '../../src/clients/clients.ts';
import type { ClientMetadata } from '../../src/db/schema.ts';
import { HttpError } from '../../src/http/errors.ts';
import { createOutbound } from '../../src/http/outbound.ts';
import { createValidate } from './fixture.ts';

let validate: ClientDependencies['validate'];

beforeAll(async () => {
  validate = await createValidate(createOutbound({ allow: [] }).fetch);
});

const minimal = { client_name: 'Fernwood Library', redirect_uris: ['https://fernwood.example/callback'] };

function check(metadata: unknown, { production = true } = {}): Promise<ClientMetadata> {
  return validateMetadata({ validate, production }, 'c_test', metadata);
}

async function refusal(metadata: unknown): Promise<HttpError> {
  const outcome = await check(metadata).catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(HttpError);
  return outcome as HttpError;
}

describe('a short request works', () => {
  test('a name and a redirect URI make a confidential web client', async () => {
    expect(await check(minimal)).toMatchObject({
      ...minimal,
      application_type: 'web',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    });
  });

  test('offline_access brings the refresh token grant', async () => {
    const { grant_types } = await check({ ...minimal, scope: 'openid offline_access' });
    expect(grant_types).toEqual(['authorization_code', 'refresh_token']);
  });

  test('grants that are named stay as they are', async () => {
    const metadata = { ...minimal, scope: 'openid offline_access', grant_types: ['authorization_code'] };
    expect((await check(metadata)).grant_types).toEqual(['authorization_code']);
  });

  test('a client without people needs no redirect URI', async () => {
    expect(await check({ client_name: 'Worker', grant_types: ['client_credentials'] })).toMatchObject({
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    });
  });
});

test('null and an empty text are as if left out', async () => {
  const valid = await check({ ...minimal, logo_uri: null, policy_uri: '', scope: null });
  expect(valid).not.toHaveProperty('logo_uri');
  expect(valid).not.toHaveProperty('policy_uri');
  expect(valid).not.toHaveProperty('scope');
});

test('what is unknown, and what only the server or the operator says, is dropped', async () => {
  const valid = await check({
    ...minimal,
    first_party: true,
    unverified: false,
    client_id: 'mine',
    client_secret: 'mine',
    client_secret_expires_at: 1,
    client_id_issued_at: 1,
    registration_access_token: 'mine',
    registration_client_uri: 'https://evil.example/',
    colour: 'green',
    'client_name#fr': 'Bibliothèque',
    ['__proto__']: { polluted: true },
  });
  expect(Object.keys(valid).sort()).toEqual(Object.keys(await check(minimal)).sort());
});

test('require_pkce is kept', async () => {
  expect(await check({ ...minimal, require_pkce: true })).toMatchObject({ require_pkce: true });
});

describe('refused with invalid_redirect_uri', () => {
  test.each([
    [{ redirect_uris: ['http://fernwood.example/cb'] }],
    [{ redirect_uris: ['https://fernwood.example/cb', 'javascript:alert(1)'] }],
    [{ redirect_uris: ['https://fernwood.example/cb#'] }],
    [{ redirect_uris: 'https://fernwood.example/cb' }],
    [{ redirect_uris: [{}] }],
    [{ redirect_uris: [null] }],
    [{ redirect_uris: [] }],
    [{ redirect_uris: undefined }],
    [{ redirect_uris: ['com.example.app:/cb'] }],
    [{ redirect_uris: ['http://rp.example/cb'], application_type: 'native' }],
    [{ redirect_uris: Array.from({ length: 51 }, (_, index) => `https://fernwood.example/${index}`) }],
  ])('%j', async (metadata) => {
    expect(await refusal({ ...minimal, ...metadata })).toMatchObject({ status: 400, code: 'invalid_redirect_uri' });
  });

  test('the issue names the very one', async () => {
    const { issues, message } = await refusal({ redirect_uris: ['https://fernwood.example/', 'https://x.example/#'] });
    expect(issues).toEqual([{ path: 'redirect_uris.1', message: 'must not contain a fragment' }]);
    expect(message).toBe('redirect_uris.1 must not contain a fragment');
  });
});

describe('refused with invalid_client_metadata', () => {
  const key = { kty: 'EC', crv: 'P-256', x: 'AQ', y: 'AQ' };

  test.each([
    [{ post_logout_redirect_uris: ['javascript:alert(1)'] }],
    [{ post_logout_redirect_uris: ['http://fernwood.example/'] }],
    [{ client_name: 'a'.repeat(201) }],
    [{ client_name: 'Fern\u202ednow' }],
    [{ client_name: 'Fern\u2066wood' }],
    [{ client_name: 'Fern\u200bwood' }],
    [{ client_name: 'Fern\nwood' }],
    [{ client_name: 'Fern\u0000wood' }],
    [{ client_name: 'Fern\ud800wood' }],
    [{ client_name: 'Fern\u2028wood' }],
    [{ client_name: '   ' }],
    [{ client_name: 7 }],
    [{ logo_uri: 'http://fernwood.example/logo.png' }],
    [{ logo_uri: 'javascript:alert(1)' }],
    [{ client_uri: 'data:text/html,hello' }],
    [{ client_uri: 'https://a@fernwood.example/' }],
    [{ policy_uri: 'file:///etc/passwd' }],
    [{ tos_uri: ['https://fernwood.example/'] }],
    [{ jwks_uri: 'http://fernwood.example/jwks' }],
    [{ jwks: { keys: [{ ...key, d: 'AQ' }] } }],
    [{ jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] } }],
    [{ jwks: { keys: ['key'] } }],
    [{ jwks: 'keys' }],
    [{ jwks: { keys: [{ ...key, note: '\u0000' }] } }],
    [{ jwks: { keys: [{ ...key, '\ud800': 1 }] } }],
    [{ grant_types: ['implicit'] }],
    [{ grant_types: ['password'] }],
    [{ grant_types: ['urn:ietf:params:oauth:grant-type:jwt-bearer'] }],
    [{ grant_types: ['client_credentials'], token_endpoint_auth_method: 'none' }],
    [{ response_types: ['token'] }],
    [{ response_types: ['code id_token'] }],
    [{ token_endpoint_auth_method: 'client_secret_jwt' }],
    [{ token_endpoint_auth_method: 'private_key_jwt' }],
    [{ token_endpoint_auth_method: 'tls_client_auth' }],
    [{ id_token_signed_response_alg: 'HS256' }],
    [{ id_token_signed_response_alg: 'none' }],
    [{ token_endpoint_auth_signing_alg: 'HS256' }],
    [{ scope: 'openid admin' }],
    [{ subject_type: 'pairwise', redirect_uris: ['https://a.example/', 'https://b.example/'] }],
  ])('%j', async (metadata) => {
    const expected = { status: 400, code: 'invalid_client_metadata' };
    expect(await refusal({ ...minimal, ...metadata })).toMatchObject(expected);
  });

  test.each([[[]], ['text'], [null], [7], [undefined]])('%j, which is no object', async (body) => {
    expect(await refusal(body)).toMatchObject({ status: 400, code: 'invalid_client_metadata' });
  });

  test('a sector_identifier_uri in a private network, with the reason', async () => {
    const { code, message } = await refusal({ ...minimal, sector_identifier_uri: 'https://10.0.0.1/uris' });
    expect(code).toBe('invalid_client_metadata');
    expect(message).toContain('10.0.0.1 is not a public address');
  });
});

test('a software statement is refused by its own code (RFC 7591 §3.2.2)', async () => {
  const software_statement = 'eyJhbGciOiJub25lIn0.e30.';
  expect(await refusal({ ...minimal, software_statement })).toMatchObject({
    status: 400,
    code: 'unapproved_software_statement',
  });
});

describe('accepted', () => {
  test.each([['أهلا بالعالم'], ['图书馆'], ['👩‍🚀 Space'], ['می‌خواهم'], ['O’Neil & Söhne <b>'], ['a'.repeat(200)]])(
    'the name %s',
    async (client_name) => {
      expect(await check({ ...minimal, client_name })).toMatchObject({ client_name });
    },
  );

  test('a public native client with a scheme of its own', async () => {
    const metadata = {
      redirect_uris: ['com.example.app:/cb', 'http://127.0.0.1/cb'],
      application_type: 'native',
      token_endpoint_auth_method: 'none',
    };
    expect(await check(metadata)).toMatchObject(metadata);
  });

  test('plain http in development', async () => {
    const metadata = {
      redirect_uris: ['http://rp.lan/cb'],
      logo_uri: 'http://localhost:3001/logo.png',
      jwks_uri: 'http://rp.lan/jwks',
      token_endpoint_auth_method: 'private_key_jwt',
    };
    expect(await check(metadata, { production: false })).toMatchObject(metadata);
    expect(await refusal(metadata)).toMatchObject({ code: 'invalid_redirect_uri' });
  });
});

test('a fault of the validator is no refusal', async () => {
  const broken = validateMetadata(
    { production: true, validate: () => Promise.reject(new TypeError('broken')) },
    'c_test',
    minimal,
  );
  await expect(broken).rejects.toThrow(TypeError);
});

test('only the methods with a secret need one', () => {
  const needing = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none', undefined].filter((method) =>
    needsSecret({ token_endpoint_auth_method: method }),
  );
  expect(needing).toEqual(['client_secret_basic', 'client_secret_post']);
});

test('whatever is sent is answered with 400 or with metadata that can be stored', async () => {
  const strange = fc.oneof(
    fc.jsonValue(),
    fc.array(fc.string({ unit: 'binary' })),
    fc.constantFrom('none', 'pairwise', 'native', ['client_credentials'], ['code'], { keys: [{}] }),
  );
  const members = fc.constantFrom(
    ...['redirect_uris', 'post_logout_redirect_uris', 'grant_types', 'response_types', 'response_modes', 'scope'],
    ...['client_name', 'logo_uri', 'contacts', 'jwks', 'jwks_uri', 'subject_type', 'sector_identifier_uri'],
    ...['application_type', 'token_endpoint_auth_method', 'default_max_age', 'default_acr_values', 'require_pkce'],
    ...['id_token_signed_response_alg', 'request_object_signing_alg', 'software_statement', 'require_auth_time'],
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(members, strange, { maxKeys: 4 }), fc.boolean(), async (part, based) => {
      const body = based ? { ...minimal, ...part } : part;
      const outcome = await check(body).catch((error: unknown) => error);
      if (outcome instanceof HttpError) expect(outcome.status).toBe(400);
      else expect(outcome).toHaveProperty('redirect_uris');
    }),
    { numRuns: 2_000 },
  );
});

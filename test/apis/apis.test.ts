/** The registry of APIs: what makes one, and the operator's commands for it. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { reservedScopes } from '../../src/apis/api-rules.ts';
import { createApi, findApi, updateApi } from '../../src/apis/apis.ts';
import { allowApi } from '../../src/apis/client-access.ts';
import { checkAuthorizationMetadata } from '../../src/clients/authorization-metadata.ts';
import { supportedScopes } from '../../src/oidc/scopes.ts';
import { runCommandLine } from '../support/command-line.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

const folder = mkdtempSync(join(tmpdir(), 'latchkey-apis-'));
let database: OpenTestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

const identifierOf = () => `https://${randomBytes(6).toString('hex')}.example/`;
const refusal = (path: string) => ({
  status: 400,
  code: 'invalid_request',
  issues: [{ path, message: expect.any(String) }],
});

describe('an API', () => {
  test('has defaults: JWTs signed with ES256, good for 600 seconds, no scope', async () => {
    const identifier = identifierOf();
    expect(await createApi(database.db, { identifier, name: ' Invoices ' })).toMatchObject({
      identifier,
      name: 'Invoices',
      scopes: {},
      tokenFormat: 'jwt',
      signingAlg: 'ES256',
      tokenLifetimeSeconds: 600,
    });
  });

  test.each(['urn:example:api', 'https://api.example', 'https://api.example/?tenant=a', 'app://api'])(
    'may be called %s',
    async (identifier) => {
      expect((await createApi(database.db, { identifier, name: 'Any' })).identifier).toBe(identifier);
      expect((await findApi(database.db, identifier))?.identifier).toBe(identifier);
    },
  );

  test.each([
    ...['', 'api', '/api', '//api.example', 'https://', 'https://api.example/#a', 'https://api.example/ a', ' urn:a:b'],
    ...[
      'https://api.example/\0',
      'https://ä.example/',
      'https://api.example/<b>',
      `https://${'a'.repeat(250)}.example`,
    ],
  ])('is not called %j (RFC 8707 §2)', async (identifier) => {
    await expect(createApi(database.db, { identifier, name: 'Any' })).rejects.toMatchObject(refusal('identifier'));
    expect(await findApi(database.db, identifier)).toBeUndefined();
  });

  test.each([
    ['name', { name: '' }],
    ['name', { name: 'Your\u202eknab' }],
    ['name', { name: 'x'.repeat(201) }],
    ['tokenFormat', { tokenFormat: 'paseto' }],
    ['signingAlg', { signingAlg: 'HS256' }],
    ['signingAlg', { signingAlg: 'none' }],
    ['tokenLifetimeSeconds', { tokenLifetimeSeconds: 59 }],
    ['tokenLifetimeSeconds', { tokenLifetimeSeconds: 86_401 }],
    ['tokenLifetimeSeconds', { tokenLifetimeSeconds: 60.5 }],
    ['scopes', { scopes: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`s${i}`, 'Do'])) }],
    ['scopes.read', { scopes: { read: ' ' } }],
    ...['a b', '', 'a"b', 'a\\b', 'é', 'x'.repeat(101)].map((scope) => [
      `scopes.${scope}`,
      { scopes: { [scope]: 'Do' } },
    ]),
    ...supportedScopes.map((scope) => [`scopes.${scope}`, { scopes: { [scope]: 'Do' } }]),
  ] as [string, object][])('with a wrong %s is refused, new and changed', async (path, wrong) => {
    const identifier = identifierOf();
    await createApi(database.db, { identifier, name: 'Right' });
    await expect(createApi(database.db, { identifier, name: 'Any', ...wrong })).rejects.toMatchObject(refusal(path));
    await expect(updateApi(database.db, identifier, wrong)).rejects.toMatchObject(refusal(path));
    expect(await findApi(database.db, identifier)).toMatchObject({ name: 'Right', scopes: {} });
  });

  test('reserves the scopes that OpenID Connect has', () => {
    expect(reservedScopes.toSorted()).toEqual(supportedScopes.toSorted());
  });

  test('is there once, also when two make it at once', async () => {
    const definition = { identifier: identifierOf(), name: 'Any' };
    const made = await Promise.allSettled(Array.from({ length: 4 }, () => createApi(database.db, definition)));
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const { reason } of made.filter((one) => one.status === 'rejected'))
      expect(reason).toMatchObject({ status: 409, code: 'api_exists' });
  });

  test('that is not there cannot be changed, nor one be allowed what it does not have', async () => {
    const identifier = identifierOf();
    expect(await updateApi(database.db, identifier, { name: 'Any' })).toBeUndefined();
    await expect(allowApi(database.db, 'c_nobody', identifier, {})).rejects.toMatchObject({ status: 404 });
  });
});

describe('subjects (SECURITY 47)', () => {
  const insert = (table: string, id: string) =>
    table === 'users'
      ? sql`insert into users (id, email, email_normalized, name) values (${id}, ${id}, ${id}, 'Any')`
      : sql`insert into oidc_clients (client_id, metadata, registered_by) values (${id}, '{}', 'operator')`;

  test.each(['c_1', 'p_1', 'U_1', '1', 'https://rp.example/', 'u', ''])('no person is called %j', async (id) => {
    await expect(database.db.execute(insert('users', id))).rejects.toThrow();
  });

  test.each(['u_1', 'p_1'])('no client is called %j, whoever names it', async (id) => {
    await expect(database.db.execute(insert('oidc_clients', id))).rejects.toThrow();
  });
});

describe('authorization metadata', () => {
  test.each([
    [[]],
    ['text'],
    [1],
    [true],
    [undefined],
    [{ a: 'x'.repeat(4096) }],
    [{ a: '\u0000' }],
    [{ a: '\ud800' }],
  ])('is not %j', (value) => {
    expect(() => checkAuthorizationMetadata(value)).toThrow('The authorization metadata');
  });

  test('is a JSON object of up to 4 KiB', () => {
    const value = { a: 'x'.repeat(4096 - '{"a":""}'.length) };
    expect(checkAuthorizationMetadata(value)).toBe(value);
    expect(() => checkAuthorizationMetadata({ a: `${value.a}x` })).toThrow('4096 bytes');
  });
});

describe('the operator’s commands', () => {
  const env = () => ({
    DATABASE_URL: database.url,
    BCRYPT_ROUNDS: '10',
    OIDC_COOKIE_SECRET: 'x'.repeat(32),
    OIDC_ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64'),
  });
  const run = (...words: string[]) => runCommandLine({ env: env(), folder }, words);
  const json = async (...words: string[]) => {
    const { code, stdout, stderr } = await run(...words, '--json');
    expect([code, stderr]).toEqual([0, '']);
    return JSON.parse(stdout);
  };

  test('make, change, show, list and delete an API', async () => {
    const identifier = identifierOf();
    const scopes = ['--scope', 'invoices:read=See = your invoices', '--scope', 'invoices:pay=Pay'];
    const made = await json('apis', 'create', identifier, '--name', 'Invoices', ...scopes);
    expect(made).toEqual({
      identifier,
      name: 'Invoices',
      scopes: { 'invoices:read': 'See = your invoices', 'invoices:pay': 'Pay' },
      token_format: 'jwt',
      signing_alg: 'ES256',
      token_lifetime: 600,
      any_client: false,
      created_at: expect.any(Number),
      updated_at: expect.any(Number),
    });
    const changed = await json('apis', 'update', identifier, '--token-format', 'opaque', '--token-lifetime', '60');
    expect(changed).toMatchObject({
      name: 'Invoices',
      scopes: made.scopes,
      token_format: 'opaque',
      token_lifetime: 60,
    });
    expect(await json('apis', 'show', identifier)).toEqual(changed);
    expect((await json('apis', 'list')).map((api: { identifier: string }) => api.identifier)).toContain(identifier);
    expect((await run('apis', 'show', identifier)).stdout).toMatch(/^scopes +invoices:\w+ {2}\S/m);
    expect((await json('apis', 'update', identifier, '--no-scopes')).scopes).toEqual({});
    expect(await json('apis', 'delete', identifier)).toEqual({ deleted: identifier });
    expect(await run('apis', 'show', identifier)).toMatchObject({
      code: 1,
      stderr: `error: There is no API ${identifier}.\n`,
    });
  });

  test('allow a service an API, and say what it may do', async () => {
    const identifier = identifierOf();
    await json('apis', 'create', identifier, '--name', 'Invoices', '--scope', 'read=See');
    const about = ['--authorization-metadata', '{"team":"billing"}'];
    const { client_id: id, ...client } = await json(
      'clients',
      'create',
      '--name',
      'Worker',
      '--grant',
      'client_credentials',
      ...about,
    );
    expect(client).toMatchObject({ grant_types: ['client_credentials'], authorization_metadata: { team: 'billing' } });
    expect(await json('apis', 'allow', id, identifier, '--scope', 'read', '--introspect')).toEqual({
      client_id: id,
      api: identifier,
      scopes: ['read'],
      may_introspect: true,
    });
    const shown = await run('clients', 'show', id);
    expect(shown.stdout).toMatch(/^authorization metadata +\{"team":"billing"\}$/m);
    expect(shown.stdout).toContain(`${identifier}: tokens with read, introspection`);
    expect((await json('clients', 'show', id)).apis).toMatchObject([{ api: identifier, scopes: ['read'] }]);
    expect((await json('apis', 'show', identifier)).clients).toMatchObject([{ client_id: id }]);
    expect(await json('clients', 'update', id, '--authorization-metadata', 'null')).not.toHaveProperty(
      'authorization_metadata',
    );
    expect(await run('apis', 'allow', id, identifier, '--scope', 'pay')).toMatchObject({
      code: 1,
      stderr: `error: ${identifier} has no scope pay.\n`,
    });
    expect(await json('apis', 'disallow', id, identifier)).toEqual({ client_id: id, api: identifier });
    expect(await run('apis', 'disallow', id, identifier)).toMatchObject({ code: 1 });
    const { rows } = await database.db.execute(sql`select event from audit_events where client_id = ${id} order by id`);
    const events = [
      'client.registered',
      'client.updated',
      'api.access-changed',
      'client.updated',
      'client.updated',
      'api.access-changed',
    ];
    expect(rows.map(({ event }) => event)).toEqual(events);
  });

  test.each([
    [2, ['create', 'https://a.example/', '--scope', 'read']],
    [2, ['create', 'https://a.example/', '--signing-alg', 'HS256']],
    [2, ['create', 'https://a.example/', '--token-lifetime', 'long']],
    [2, ['update', 'https://a.example/']],
    [1, ['create', 'nothing', '--name', 'Any']],
    [1, ['create', 'https://a.example/']],
    [1, ['delete', 'https://nobody.example/']],
    [1, ['allow', 'c_nobody', 'https://nobody.example/']],
  ])('end with %i for what is not in order: %j', async (code, words) => {
    const outcome = await run('apis', ...words);
    expect(outcome).toMatchObject({ code, stdout: '' });
    expect(outcome.stderr).toMatch(/\S/);
  });

  test.each(['[]', '{', '"x"', JSON.stringify({ a: 'x'.repeat(5000) })])(
    'refuse %s as authorization metadata',
    async (value) => {
      const before = await json('clients', 'list');
      const outcome = await run(
        'clients',
        'create',
        '--grant',
        'client_credentials',
        '--authorization-metadata',
        value,
      );
      expect(outcome).toMatchObject({ code: 1, stderr: expect.stringContaining('authorization metadata') });
      expect(await json('clients', 'list')).toEqual(before);
    },
  );
});

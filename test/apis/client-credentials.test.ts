/** A service gets a token for an API, and the API reads it: by the published keys, or by asking (RFC 6749 §4.4, 8707, 9068). */
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createApi, deleteApi, updateApi } from '../../src/apis/apis.ts';
import { allowApi, disallowApi } from '../../src/apis/client-access.ts';
import { setAuthorizationMetadata } from '../../src/clients/authorization-metadata.ts';
import { basic } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  allow,
  askForToken,
  createApiSide,
  createApis,
  createService,
  introspect,
  invoices,
  photos,
  verifyAt,
} from './fixture.ts';

let app: TestApp;
let service: Registration;
let invoicesSide: Registration;
let photosSide: Registration;

const about = { team: 'billing', limits: { eur: 500 } };

beforeAll(async () => {
  app = await startApp();
  await createApis(app);
  service = await createService(app, { [invoices]: ['read'], [photos]: ['read', 'print'] });
  await setAuthorizationMetadata(app.database.db, service.client_id, about);
  invoicesSide = await createApiSide(app, invoices);
  photosSide = await createApiSide(app, photos);
});
afterAll(() => app.close());

describe('a token for an API in JWT form', () => {
  test('is what RFC 9068 says, and carries what the operator says about the client', async () => {
    const { status, body } = await askForToken(app, service, { resource: invoices, scope: 'read' });
    expect(status).toBe(200);
    expect(body).toMatchObject({ token_type: 'Bearer', expires_in: 600, scope: 'read' });
    const { payload, protectedHeader } = await verifyAt(app, invoices, body.access_token);
    expect(protectedHeader).toEqual({ typ: 'at+jwt', alg: 'ES256', kid: expect.any(String) });
    expect(payload).toEqual({
      iss: app.issuer,
      sub: service.client_id,
      client_id: service.client_id,
      aud: invoices,
      scope: 'read',
      jti: expect.any(String),
      iat: expect.any(Number),
      exp: (payload.iat ?? 0) + 600,
      'urn:latchkey:client': about,
    });
  });

  test('is told of by introspection too, to its client and the API’s own side', async () => {
    const { access_token } = (await askForToken(app, service, { resource: invoices, scope: 'read' })).body;
    const { payload } = await verifyAt(app, invoices, access_token);
    const told = { ...payload, active: true, token_type: 'Bearer' };
    expect(await introspect(app, service, access_token)).toEqual(told);
    expect(await introspect(app, invoicesSide, access_token)).toEqual(told);
    for (const stranger of [photosSide, await createService(app, { [invoices]: ['read'] })])
      expect(await introspect(app, stranger, access_token)).toEqual({ active: false });
  });

  test('is told of in a signed answer to an API’s side that asks for one (RFC 9701)', async () => {
    const side = await registerClient(app, {
      grant_types: ['client_credentials'],
      redirect_uris: undefined,
      introspection_signed_response_alg: 'ES256',
    });
    await allowApi(app.database.db, side.client_id, invoices, { mayIntrospect: true });
    const { access_token } = (await askForToken(app, service, { resource: invoices, scope: 'read' })).body;
    const type = 'application/token-introspection+jwt';
    const response = await fetch(`${app.issuer}/introspection`, {
      method: 'POST',
      headers: { accept: type, ...basic(side) },
      body: new URLSearchParams({ token: String(access_token) }),
    });
    expect(response.headers.get('content-type')).toContain(type);
    const jwks = (await (await fetch(`${app.issuer}/jwks`)).json()) as JSONWebKeySet;
    const { payload } = await jwtVerify(await response.text(), createLocalJWKSet(jwks), {
      issuer: app.issuer,
      audience: side.client_id,
      typ: 'token-introspection+jwt',
    });
    expect(payload.token_introspection).toEqual(await introspect(app, side, access_token));
    expect(payload.token_introspection).toMatchObject({ active: true, aud: invoices });
  });

  test('is not active when it is altered, of another issuer, or expired, and needs a caller that authenticates', async () => {
    const { access_token } = (await askForToken(app, service, { resource: invoices })).body;
    const [header = '', payload = '', signature = ''] = String(access_token).split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const forged = [
      `${header}.${part({ ...claims, scope: 'pay' })}.${signature}`,
      `${header}.${part({ ...claims, iss: 'https://evil.example/oidc' })}.${signature}`,
      `${part({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
      `${part({ alg: 'HS256', typ: 'at+jwt' })}.${payload}.${signature}`,
    ];
    for (const token of forged) expect(await introspect(app, invoicesSide, token)).toEqual({ active: false });
    const wrong = { ...invoicesSide, client_secret: 'wrong' };
    expect(await introspect(app, wrong, access_token)).toMatchObject({ status: 401, error: 'invalid_client' });
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 601_000 });
    expect(await introspect(app, invoicesSide, access_token)).toEqual({ active: false });
    vi.useRealTimers();
    await expect(verifyAt(app, photos, access_token)).rejects.toThrow('aud');
  });

  test.each(['ES256', 'RS256', 'EdDSA'] as const)('is signed with %s when the API wants that', async (signingAlg) => {
    const identifier = `urn:example:${signingAlg}`;
    await createApi(app.database.db, { identifier, name: 'Any', signingAlg, tokenLifetimeSeconds: 60 });
    const caller = await createService(app, { [identifier]: [] });
    const { body } = await askForToken(app, caller, { resource: identifier });
    expect(body.expires_in).toBe(60);
    const { payload, protectedHeader } = await verifyAt(app, identifier, body.access_token);
    expect([protectedHeader.alg, payload.scope]).toEqual([signingAlg, undefined]);
    expect(payload).not.toHaveProperty('urn:latchkey:client');
  });
});

describe('an opaque token for an API', () => {
  test('says at introspection what a JWT says', async () => {
    const { body } = await askForToken(app, service, { resource: photos, scope: 'print read' });
    expect(body).toMatchObject({ expires_in: 300, scope: 'print read' });
    expect(body.access_token).toMatch(/^[\w-]{43,}$/);
    for (const who of [service, photosSide]) {
      const facts = await introspect(app, who, body.access_token);
      expect(facts).toEqual({
        active: true,
        iss: app.issuer,
        sub: service.client_id,
        client_id: service.client_id,
        aud: photos,
        scope: 'print read',
        iat: expect.any(Number),
        exp: Number(facts.iat) + 300,
        token_type: 'Bearer',
        'urn:latchkey:client': about,
      });
    }
    expect(await introspect(app, invoicesSide, body.access_token)).toEqual({ active: false });
  });
});

describe('what is asked for', () => {
  test('without resource is for the one API of the client, and for none when it has several or none', async () => {
    const one = await createService(app, { [invoices]: ['read'] });
    await allowApi(app.database.db, one.client_id, photos, { mayIntrospect: true });
    const { body } = await askForToken(app, one, { scope: 'read' });
    expect((await verifyAt(app, invoices, body.access_token)).payload.scope).toBe('read');
    for (const client of [service, await createService(app)]) {
      const answer = await askForToken(app, client);
      const facts = await introspect(app, client, answer.body.access_token);
      expect([answer.status, facts.active, facts.aud, facts.scope]).toEqual([200, true, undefined, undefined]);
    }
  });

  test.each([
    ['nobody’s', { scope: 'admin', resource: invoices }],
    ['of the API but not this client’s', { scope: 'pay', resource: invoices }],
    ['of another API of this client', { scope: 'print', resource: invoices }],
    ['of an API that is not named', { scope: 'read' }],
    ['known beside one that is not', { scope: 'read admin', resource: invoices }],
    ['of OpenID Connect, which is about people', { scope: 'openid' }],
    ['of OpenID Connect at an API', { scope: 'read offline_access', resource: invoices }],
  ])('a scope that is %s is refused', async (_which, parameters) => {
    const { status, body } = await askForToken(app, service, parameters);
    expect([status, body.error, body.access_token]).toEqual([400, 'invalid_scope', undefined]);
  });

  test.each([
    ['unknown', 'https://nobody.example/'],
    ['of no access', 'https://photos.example'],
    ['relative', '/invoices'],
    ['with a fragment', `${invoices}#`],
    ['with a NUL', `${invoices}\0`],
    ['very long', `https://api.example/${'x'.repeat(5000)}`],
  ])('a resource that is %s is refused', async (_which, resource) => {
    const { status, body } = await askForToken(app, service, { resource });
    expect([status, body.error]).toEqual([400, 'invalid_target']);
  });

  test('an API that the client has no access to looks like one that is unknown', async () => {
    const stranger = await createService(app);
    const answers = [invoices, 'https://nobody.example/'].map((resource) => askForToken(app, stranger, { resource }));
    const [known, unknown] = await Promise.all(answers);
    expect(known?.body).toEqual(unknown?.body);
    expect((await askForToken(app, invoicesSide, { resource: invoices })).body.error).toBe('invalid_target');
  });

  test('one token is for one API', async () => {
    const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: service.client_id });
    body.append('client_secret', service.client_secret ?? '');
    for (const resource of [invoices, photos]) body.append('resource', resource);
    const response = await fetch(`${app.issuer}/token`, { method: 'POST', body });
    expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([400, 'invalid_target']);
    const many = new URLSearchParams(body);
    for (let i = 0; i < 50; i += 1) many.append('resource', `https://api${i}.example/`);
    expect((await fetch(`${app.issuer}/token`, { method: 'POST', body: many })).status).toBe(400);
  });
});

describe('access that is taken back', () => {
  const issue = async () => {
    const client = await createService(app, { [invoices]: ['read'], [photos]: ['read'] });
    const [jwt, opaque] = await Promise.all(
      [invoices, photos].map(async (resource) => (await askForToken(app, client, { resource, scope: 'read' })).body),
    );
    return { client, jwt: jwt?.access_token, opaque: opaque?.access_token };
  };

  test('ends introspection of the tokens at once, and gives no new ones', async () => {
    const { client, jwt, opaque } = await issue();
    for (const identifier of [invoices, photos]) {
      await disallowApi(app.database.db, client.client_id, identifier);
      expect((await askForToken(app, client, { resource: identifier })).body.error).toBe('invalid_target');
    }
    for (const who of [client, invoicesSide, photosSide])
      for (const token of [jwt, opaque]) expect(await introspect(app, who, token)).toEqual({ active: false });
  });

  test('with a deleted API goes all access to it, for an API of the same name too', async () => {
    const identifier = 'https://short-lived.example/';
    const definition = { identifier, name: 'Short', scopes: { read: 'Read' } };
    await createApi(app.database.db, definition);
    const client = await createService(app, { [identifier]: ['read'] });
    expect((await askForToken(app, client, { resource: identifier, scope: 'read' })).status).toBe(200);
    expect(await deleteApi(app.database.db, identifier)).toBe(true);
    await createApi(app.database.db, definition);
    expect((await askForToken(app, client, { resource: identifier })).body.error).toBe('invalid_target');
  });

  test('a scope that an API gives up is gone for every client, and does not come back with its name', async () => {
    const identifier = 'https://shrinking.example/';
    const scopes = { read: 'Read', write: 'Write' };
    await createApi(app.database.db, { identifier, name: 'Shrinking', scopes });
    const client = await createService(app, { [identifier]: ['read', 'write'] });
    await updateApi(app.database.db, identifier, { scopes: { read: 'Read' } });
    await updateApi(app.database.db, identifier, { scopes });
    const statusFor = async (scope: string) => (await askForToken(app, client, { resource: identifier, scope })).status;
    expect([await statusFor('read'), await statusFor('write')]).toEqual([200, 400]);
  });

  test('what the operator says about a client can be changed and taken away for the tokens to come', async () => {
    const client = await createService(app, { [invoices]: ['read'] });
    for (const said of [{ plan: 'a' }, { plan: 'b' }, null]) {
      await setAuthorizationMetadata(app.database.db, client.client_id, said);
      const { body } = await askForToken(app, client);
      const { payload } = await verifyAt(app, invoices, body.access_token);
      expect(payload['urn:latchkey:client']).toEqual(said ?? undefined);
    }
  });

  test('a client cannot say it about itself', async () => {
    const grabby = await registerClient(app, {
      grant_types: ['client_credentials'],
      redirect_uris: undefined,
      authorization_metadata: { admin: true },
    });
    await allow(app, grabby, { [invoices]: ['read'] });
    const { body } = await askForToken(app, grabby);
    expect((await verifyAt(app, invoices, body.access_token)).payload).not.toHaveProperty('urn:latchkey:client');
  });
});

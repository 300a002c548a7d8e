/** APIs and clients as an operator makes them, and tokens checked as an API checks them: with jose and the published keys. */
import { createLocalJWKSet, type JSONWebKeySet, type JWTHeaderParameters, type JWTPayload, jwtVerify } from 'jose';
import { createApi } from '../../src/apis/apis.ts';
import { allowApi } from '../../src/apis/client-access.ts';
import { type Answer, type Parameters, post } from '../security/protocol.ts';
import type { TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';

export const invoices = 'https://api.example/invoices';
export const photos = 'https://photos.example/';

/** Invoices has JWTs and two scopes, photos opaque tokens and two scopes, one of them of the same name. */
export async function createApis(app: TestApp): Promise<void> {
  await createApi(app.database.db, {
    identifier: invoices,
    name: 'Invoices',
    scopes: { read: 'See your invoices', pay: 'Pay your invoices' },
  });
  await createApi(app.database.db, {
    identifier: photos,
    name: 'Photos',
    scopes: { read: 'See your photos', print: 'Print your photos' },
    tokenFormat: 'opaque',
    tokenLifetimeSeconds: 300,
  });
}

/** A service with a secret, allowed the scopes given by API. */
export async function createService(app: TestApp, access: Record<string, string[]> = {}): Promise<Registration> {
  const service = await registerClient(app, { grant_types: ['client_credentials'], redirect_uris: undefined });
  await allow(app, service, access);
  return service;
}

export async function allow(
  app: TestApp,
  { client_id }: Pick<Registration, 'client_id'>,
  access: Record<string, string[]>,
): Promise<void> {
  for (const [identifier, scopes] of Object.entries(access))
    await allowApi(app.database.db, client_id, identifier, { scopes });
}

/** An API's own side: a client that may introspect its tokens, and nothing else. */
export async function createApiSide(app: TestApp, identifier: string): Promise<Registration> {
  const side = await createService(app);
  await allowApi(app.database.db, side.client_id, identifier, { mayIntrospect: true });
  return side;
}

export function askForToken(app: TestApp, client: Registration, parameters: Parameters = {}): Promise<Answer> {
  return post(app, 'token', { grant_type: 'client_credentials', ...parameters }, client);
}

export async function introspect(app: TestApp, who: Registration, token: unknown): Promise<Record<string, unknown>> {
  const { status, body } = await post(app, 'introspection', { token: String(token) }, who);
  return status === 200 ? body : { status, ...body };
}

/** What an API with this identifier reads in a token (RFC 9068 §4). Rejects for any other token. */
export async function verifyAt(
  app: TestApp,
  audience: string,
  token: unknown,
): Promise<{ payload: JWTPayload; protectedHeader: JWTHeaderParameters }> {
  const jwks = (await (await fetch(`${app.issuer}/jwks`)).json()) as JSONWebKeySet;
  const algorithms = ['ES256', 'RS256', 'EdDSA'];
  const options = { issuer: app.issuer, audience, typ: 'at+jwt', algorithms };
  return jwtVerify(String(token), createLocalJWKSet(jwks), options);
}

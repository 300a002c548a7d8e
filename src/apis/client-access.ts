import { and, asc, eq, inArray, or, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { apis, clientApis, oidcClients } from '../db/schema.ts';
import { HttpError } from '../http/errors.ts';
import { isResource } from './api-rules.ts';
import type { Api } from './apis.ts';

/** What a client may do at an API: the API, and of its scopes those that this client may ask for. */
export type ApiAccess = Pick<
  Api,
  'identifier' | 'name' | 'scopes' | 'tokenFormat' | 'signingAlg' | 'tokenLifetimeSeconds'
>;

export type ClientApi = typeof clientApis.$inferSelect;

/**
 * Says anew what a client may do at an API. Without scopes it may get tokens that carry none, unless it is only the
 * API's own side (`mayIntrospect`), which gets none at all.
 * @throws {HttpError} 404 when there is no such client or API; 400 `invalid_scope` for a scope that the API does not have
 */
export async function allowApi(
  db: Database,
  clientId: string,
  identifier: string,
  { scopes = [], mayIntrospect = false }: { scopes?: readonly string[]; mayIntrospect?: boolean },
  source?: AuditSource,
): Promise<ClientApi> {
  return db.transaction(async (tx) => {
    // Held until the end: neither may go, nor the API lose a scope, in between.
    const [client] = await tx
      .select({ clientId: oidcClients.clientId })
      .from(oidcClients)
      .where(eq(oidcClients.clientId, clientId))
      .for('key share');
    if (!client) throw new HttpError(404, 'not_found', `There is no client ${clientId}.`);
    const [api] = await tx.select().from(apis).where(eq(apis.identifier, identifier)).for('share');
    if (!api) throw new HttpError(404, 'not_found', `There is no API ${identifier}.`);
    const unknown = scopes.find((scope) => !Object.hasOwn(api.scopes, scope));
    if (unknown !== undefined) throw new HttpError(400, 'invalid_scope', `${identifier} has no scope ${unknown}.`);
    const allowed = { scopes: [...new Set(scopes)].sort(), mayIntrospect };
    const row = { clientId, apiIdentifier: identifier, ...allowed };
    await tx
      .insert(clientApis)
      .values(row)
      .onConflictDoUpdate({ target: [clientApis.clientId, clientApis.apiIdentifier], set: allowed });
    const details = { api: identifier, scopes: allowed.scopes, may_introspect: mayIntrospect };
    await record(tx, { event: 'api.access-changed', clientId, source, details });
    return row;
  });
}

/** Takes back what a client may do at an API. False when there was nothing to take. */
export async function disallowApi(
  db: Database,
  clientId: string,
  identifier: string,
  source?: AuditSource,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const gone = await tx
      .delete(clientApis)
      .where(and(eq(clientApis.clientId, clientId), eq(clientApis.apiIdentifier, identifier)))
      .returning({ clientId: clientApis.clientId });
    if (gone.length === 0) return false;
    await record(tx, { event: 'api.access-changed', clientId, source, details: { api: identifier, access: 'none' } });
    return true;
  });
}

/**
 * What a client may do at the APIs named: one statement however many there are. Others are left out.
 * @param forPerson whether a person decides about it, who may be asked by any client where the API says so
 */
export async function findAccess(
  db: Database,
  clientId: string,
  identifiers: readonly string[],
  { forPerson = false }: { forPerson?: boolean } = {},
): Promise<ApiAccess[]> {
  const possible = identifiers.filter(isResource);
  if (possible.length === 0) return [];
  const rows = await db
    .select({ api: apis, granted: clientApis.scopes })
    .from(apis)
    .leftJoin(clientApis, and(eq(clientApis.apiIdentifier, apis.identifier), eq(clientApis.clientId, clientId)))
    .where(and(inArray(apis.identifier, possible), or(getsTokens, forPerson ? apis.anyClient : undefined)));
  return rows.map(({ api, granted }) => (forPerson && api.anyClient ? api : narrowed(api, granted ?? [])));
}

/** The API that a client was allowed when there is just one. */
export async function findOnlyAccess(db: Database, clientId: string): Promise<ApiAccess | undefined> {
  const rows = await db
    .select({ api: apis, granted: clientApis.scopes })
    .from(clientApis)
    .innerJoin(apis, eq(apis.identifier, clientApis.apiIdentifier))
    .where(and(eq(clientApis.clientId, clientId), getsTokens))
    .limit(2);
  const [only] = rows;
  return only && rows.length === 1 ? narrowed(only.api, only.granted) : undefined;
}

/** The API's own side, which only asks about tokens, has a row without scopes. */
const getsTokens = sql`(cardinality(${clientApis.scopes}) > 0 or not ${clientApis.mayIntrospect})`;

function narrowed(api: Api, granted: readonly string[]): ApiAccess {
  return {
    ...api,
    scopes: Object.fromEntries(Object.entries(api.scopes).filter(([scope]) => granted.includes(scope))),
  };
}

/** What these clients may do at an API; where any client may ask, those without a row have one without scopes. */
export async function findClientApis(
  db: Database,
  identifier: string,
  clientIds: readonly string[],
): Promise<ClientApi[]> {
  const rows = await db
    .select({ anyClient: apis.anyClient, access: clientApis })
    .from(apis)
    .leftJoin(
      clientApis,
      and(eq(clientApis.apiIdentifier, apis.identifier), inArray(clientApis.clientId, [...clientIds])),
    )
    .where(eq(apis.identifier, identifier));
  const allowed = rows.flatMap(({ access }) => access ?? []);
  const others = clientIds.filter((id) => !allowed.some(({ clientId }) => clientId === id));
  if (!rows[0]?.anyClient) return allowed;
  const implied = others.map((clientId) => ({ clientId, apiIdentifier: identifier, scopes: [], mayIntrospect: false }));
  return [...allowed, ...implied];
}

/** All that a client may do, by API. */
export async function listAccessOfClient(db: Database, clientId: string): Promise<ClientApi[]> {
  return db.select().from(clientApis).where(eq(clientApis.clientId, clientId)).orderBy(asc(clientApis.apiIdentifier));
}

/** Every client that may do something at an API. */
export async function listClientsOfApi(db: Database, identifier: string): Promise<ClientApi[]> {
  return db.select().from(clientApis).where(eq(clientApis.apiIdentifier, identifier)).orderBy(asc(clientApis.clientId));
}

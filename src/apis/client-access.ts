import { and, asc, eq } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { apis, clientApis, oidcClients } from '../db/schema.ts';
import { HttpError } from '../http/errors.ts';

/** What a client may do at an API. What comes of it for a token request is answered by api-directory.ts. */
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

/** All that a client may do, by API. */
export async function listAccessOfClient(db: Database, clientId: string): Promise<ClientApi[]> {
  return db.select().from(clientApis).where(eq(clientApis.clientId, clientId)).orderBy(asc(clientApis.apiIdentifier));
}

/** Every client that may do something at an API. */
export async function listClientsOfApi(db: Database, identifier: string): Promise<ClientApi[]> {
  return db.select().from(clientApis).where(eq(clientApis.apiIdentifier, identifier)).orderBy(asc(clientApis.clientId));
}

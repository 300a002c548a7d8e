/**
 * APIs: the services that access tokens are made for (RFC 8707 resources, RFC 9068 tokens), with their scopes and the
 * clients that may use them. Only the operator changes them. What the protocol makes of them is in oidc/.
 */
import { asc, eq, inArray, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { apis, clientApis } from '../db/schema.ts';
import { HttpError } from '../http/errors.ts';
import { checkChanges, checkDefinition, isResource } from './api-rules.ts';

export type Api = typeof apis.$inferSelect;

/**
 * Adds an API. `definition` needs `identifier` and `name`; the rest has defaults (api-rules.ts).
 * @throws {HttpError} 400 `invalid_request`; 409 `api_exists`
 */
export async function createApi(db: Database, definition: unknown, source?: AuditSource): Promise<Api> {
  const valid = checkDefinition(definition);
  const now = new Date();
  return db.transaction(async (tx) => {
    const [api] = await tx
      .insert(apis)
      .values({ ...valid, createdAt: now, updatedAt: now })
      .onConflictDoNothing()
      .returning();
    if (!api) throw new HttpError(409, 'api_exists', `There is an API ${valid.identifier} already.`);
    await record(tx, { event: 'api.created', source, details: facts(api) });
    return api;
  });
}

/**
 * Changes what `changes` names; undefined when there is no such API. `scopes` replaces all: one that goes is taken from
 * every client that had it, so that it does not come back with its name.
 * @throws {HttpError} 400 `invalid_request`
 */
export async function updateApi(
  db: Database,
  identifier: string,
  changes: unknown,
  source?: AuditSource,
): Promise<Api | undefined> {
  const valid = checkChanges(changes);
  return db.transaction(async (tx) => {
    const [api] = await tx
      .update(apis)
      .set({ ...valid, updatedAt: new Date() })
      .where(eq(apis.identifier, identifier))
      .returning();
    if (!api) return undefined;
    if (valid.scopes) {
      const left = sql`array(select unnest(${clientApis.scopes}) intersect select jsonb_object_keys(${JSON.stringify(valid.scopes)}::jsonb))`;
      await tx.update(clientApis).set({ scopes: left }).where(eq(clientApis.apiIdentifier, identifier));
    }
    await record(tx, { event: 'api.updated', source, details: facts(api) });
    return api;
  });
}

/** Deletes an API with every client's access to it. False when there is none. */
export async function deleteApi(db: Database, identifier: string, source?: AuditSource): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [api] = await tx.delete(apis).where(eq(apis.identifier, identifier)).returning();
    if (api) await record(tx, { event: 'api.deleted', source, details: { api: identifier } });
    return api !== undefined;
  });
}

export async function findApi(db: Database, identifier: string): Promise<Api | undefined> {
  if (!isResource(identifier)) return undefined;
  const [api] = await db.select().from(apis).where(eq(apis.identifier, identifier));
  return api;
}

/** Those of the APIs named that there are, by identifier. */
export async function findApis(db: Database, identifiers: readonly string[]): Promise<Api[]> {
  if (identifiers.length === 0) return [];
  return db
    .select()
    .from(apis)
    .where(inArray(apis.identifier, [...identifiers]))
    .orderBy(asc(apis.identifier));
}

/** All APIs, by identifier. An operator registers each by hand, so there are not many. */
export async function listApis(db: Database): Promise<Api[]> {
  return db.select().from(apis).orderBy(asc(apis.identifier));
}

function facts({ identifier, name, scopes, tokenFormat, signingAlg, tokenLifetimeSeconds, anyClient }: Api) {
  return {
    api: identifier,
    name,
    scopes: Object.keys(scopes),
    token_format: tokenFormat,
    signing_alg: signingAlg,
    token_lifetime_seconds: tokenLifetimeSeconds,
    any_client: anyClient,
  };
}

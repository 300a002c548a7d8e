/**
 * Who may turn a token for one API into a token for another (RFC 8693), and in whose name it then acts. There is no
 * default: without a permission of the operator's nobody exchanges anything.
 */
import { and, asc, eq } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { apis, oidcClients, tokenExchangePermissions } from '../db/schema.ts';
import { HttpError } from '../http/errors.ts';
import { isResource } from './api-rules.ts';

export type ExchangePermission = typeof tokenExchangePermissions.$inferSelect;

/** With `impersonation` the new token only says whom it is about; with `delegation` also who acts for them. */
export type ExchangeMode = ExchangePermission['mode'];

export const exchangeModes: readonly ExchangeMode[] = ['impersonation', 'delegation'];

/**
 * False when it was permitted already.
 * @throws {HttpError} 404 when there is no such client or API; 400 for a public client
 */
export async function permitExchange(
  db: Database,
  permission: ExchangePermission,
  source?: AuditSource,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    await requireConfidential(tx, permission.clientId);
    for (const identifier of [permission.subjectApi, permission.targetApi]) await requireApi(tx, identifier);
    const added = await tx.insert(tokenExchangePermissions).values(permission).onConflictDoNothing().returning();
    if (added.length === 0) return false;
    await recordChange(tx, 'token-exchange.permitted', permission, source);
    return true;
  });
}

/** False when there was nothing to take back. Tokens that were exchanged before live to their end, which is near. */
export async function forbidExchange(
  db: Database,
  permission: ExchangePermission,
  source?: AuditSource,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const gone = await tx.delete(tokenExchangePermissions).where(same(permission)).returning();
    if (gone.length === 0) return false;
    await recordChange(tx, 'token-exchange.forbidden', permission, source);
    return true;
  });
}

/** All permissions, or those of one client. */
export async function listExchangePermissions(db: Database, clientId?: string): Promise<ExchangePermission[]> {
  const { clientId: client, subjectApi, targetApi, mode } = tokenExchangePermissions;
  return db
    .select()
    .from(tokenExchangePermissions)
    .where(clientId === undefined ? undefined : eq(client, clientId))
    .orderBy(asc(client), asc(subjectApi), asc(targetApi), asc(mode));
}

function same({ clientId, subjectApi, targetApi, mode }: ExchangePermission) {
  return and(
    eq(tokenExchangePermissions.clientId, clientId),
    eq(tokenExchangePermissions.subjectApi, subjectApi),
    eq(tokenExchangePermissions.targetApi, targetApi),
    eq(tokenExchangePermissions.mode, mode),
  );
}

/** Whoever knows a public client's id is that client; it must not turn tokens into others. */
async function requireConfidential(db: Database, clientId: string): Promise<void> {
  const [client] = await db
    .select({ metadata: oidcClients.metadata })
    .from(oidcClients)
    .where(eq(oidcClients.clientId, clientId));
  if (!client) throw new HttpError(404, 'not_found', `There is no client ${clientId}.`);
  if (client.metadata.token_endpoint_auth_method === 'none') {
    throw new HttpError(400, 'invalid_request', `${clientId} is a public client, which cannot exchange tokens.`);
  }
}

async function requireApi(db: Database, identifier: string): Promise<void> {
  const found = isResource(identifier)
    ? await db.select({ identifier: apis.identifier }).from(apis).where(eq(apis.identifier, identifier))
    : [];
  if (found.length === 0) throw new HttpError(404, 'not_found', `There is no API ${identifier}.`);
}

function recordChange(
  db: Database,
  event: 'token-exchange.permitted' | 'token-exchange.forbidden',
  { clientId, subjectApi, targetApi, mode }: ExchangePermission,
  source: AuditSource | undefined,
): Promise<void> {
  const details = { subject_api: subjectApi, target_api: targetApi, mode };
  return record(db, { event, clientId, source, details });
}

import { eq } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { oidcClients } from '../db/schema.ts';
import { isTooDeep } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';
import type { Client } from './clients.ts';

export type AuthorizationMetadata = Record<string, unknown>;

/** It travels with every request that a token of the client is used for. */
const mostBytes = 4096;

/**
 * The operator's words about a client to the APIs it calls, which its access tokens carry. Never set by registration.
 * @throws {HttpError} 400 `invalid_client_metadata` for anything but a JSON object of at most 4 KiB
 */
export function checkAuthorizationMetadata(value: unknown): AuthorizationMetadata {
  const refuse = (why: string) => new HttpError(400, 'invalid_client_metadata', `The authorization metadata ${why}.`);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse('must be a JSON object');
  if (isTooDeep(value)) throw refuse('is nested too deeply');
  const json = JSON.stringify(value);
  if (Buffer.byteLength(json) > mostBytes) throw refuse(`must not be larger than ${mostBytes} bytes as JSON`);
  // PostgreSQL's JSON holds neither NUL nor half a surrogate pair.
  if (/\\u(0000|d[89a-f])/.test(json.replaceAll('\\\\', ''))) {
    throw refuse('contains characters that cannot be stored');
  }
  return value as AuthorizationMetadata;
}

/**
 * Sets what the tokens of a client say about it from the next one on; null takes it away. Undefined when there is no
 * such client.
 * @throws {HttpError} 400 `invalid_client_metadata`
 */
export async function setAuthorizationMetadata(
  db: Database,
  clientId: string,
  value: unknown,
  source?: AuditSource,
): Promise<Client | undefined> {
  const authorizationMetadata = value === null ? null : checkAuthorizationMetadata(value);
  return db.transaction(async (tx) => {
    const [client] = await tx
      .update(oidcClients)
      .set({ authorizationMetadata, updatedAt: new Date() })
      .where(eq(oidcClients.clientId, clientId))
      .returning();
    if (!client) return undefined;
    await record(tx, {
      event: 'client.updated',
      clientId,
      source,
      details: { changed: ['authorization_metadata'], authorization_metadata: authorizationMetadata },
    });
    return client;
  });
}

/**
 * Clients: the applications people sign in to. Registration, change, secrets and the facts others may have about a
 * client happen here. Who may do so is decided in the routes, and what the protocol makes of a client is the library's.
 */
import { isDeepStrictEqual } from 'node:util';
import { and, eq, gt, isNotNull, or, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { type ClientMetadata, oidcClients, oidcGrants } from '../db/schema.ts';
import { HttpError } from '../http/errors.ts';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';
import { type MetadataDependencies, needsSecret, validateMetadata } from './client-metadata.ts';
import { issueClientSecret } from './client-secret.ts';
import { consumeInitialAccessToken, initialAccessTokenId } from './initial-access-tokens.ts';
import { isKept } from './unused-clients.ts';

export type Client = typeof oidcClients.$inferSelect;

export type ClientDependencies = MetadataDependencies & { bcrypt: Bcrypt };

export type RegistrationOptions = {
  registeredBy: Client['registeredBy'];
  firstParty?: boolean;
  initialAccessToken?: string;
  source?: AuditSource;
};

/** Secrets and tokens in clear: to be shown this once. No secret for a client that needs none. */
export type RegisteredClient = { client: Client; clientSecret?: string; registrationAccessToken: string };

/**
 * Registers a client (RFC 7591). An initial access token is used up in the transaction that stores the client, so a
 * refused registration costs no use of it.
 * @throws {HttpError} 400 with RFC 7591 §3.2.2 codes, 401 `invalid_token` when the initial access token has no use left
 * @throws {BusyError}
 */
export async function registerClient(
  db: Database,
  dependencies: ClientDependencies,
  metadata: unknown,
  options: RegistrationOptions,
): Promise<RegisteredClient> {
  const clientId = `c_${randomToken(16)}`;
  const valid = await validateMetadata(dependencies, clientId, metadata);
  const issued = needsSecret(valid) ? await issueClientSecret(dependencies.bcrypt) : undefined;
  const registrationAccessToken = randomToken();
  const now = new Date();
  const row = {
    clientId,
    metadata: valid,
    secretHash: issued?.secretHash ?? null,
    registrationTokenHash: sha256(registrationAccessToken),
    registeredBy: options.registeredBy,
    firstParty: options.firstParty ?? false,
    usedAt: null,
    createdAt: now,
    updatedAt: now,
  };
  const client = await db.transaction(async (tx) => {
    const { initialAccessToken } = options;
    if (initialAccessToken !== undefined && !(await consumeInitialAccessToken(tx, initialAccessToken))) {
      throw initialAccessTokenNeeded();
    }
    const [inserted] = await tx.insert(oidcClients).values(row).returning();
    await record(tx, {
      event: 'client.registered',
      clientId,
      source: options.source,
      details: {
        client_name: valid.client_name,
        registered_by: options.registeredBy,
        ...(initialAccessToken !== undefined && { initial_access_token: initialAccessTokenId(initialAccessToken) }),
      },
    });
    return inserted as Client;
  });
  return { client, ...(issued && { clientSecret: issued.secret }), registrationAccessToken };
}

export function initialAccessTokenNeeded(): HttpError {
  return new HttpError(401, 'invalid_token', 'A valid initial access token is needed to register a client.');
}

/** A client, unless its time is up (`unusedDays`). */
export async function findClient(db: Database, clientId: string): Promise<Client | undefined> {
  // What PostgreSQL cannot even compare is no client's id.
  if (!/^[\x20-\x7e]{1,255}$/.test(clientId)) return undefined;
  const [client] = await db
    .select()
    .from(oidcClients)
    .where(and(eq(oidcClients.clientId, clientId), isKept()));
  return client;
}

/** Clients in the order of their registration, at most `limit`, from behind `after` on. */
export async function listClients(
  db: Database,
  { limit, after }: { limit: number; after?: Pick<Client, 'createdAt' | 'clientId'> | undefined },
): Promise<Client[]> {
  const { createdAt, clientId } = oidcClients;
  return db
    .select()
    .from(oidcClients)
    .where(
      and(
        isKept(),
        after && or(gt(createdAt, after.createdAt), and(eq(createdAt, after.createdAt), gt(clientId, after.clientId))),
      ),
    )
    .orderBy(createdAt, clientId)
    .limit(limit);
}

/**
 * Replaces all metadata of a client (RFC 7592 §2.2); undefined when there is none. A client that comes to need a secret
 * gets one, shown this once; one that no longer needs it loses it. Whether it is the operator's own, which spares people
 * the consent page, stays as it is unless `firstParty` is given.
 * @throws {HttpError} 400
 */
export async function updateClient(
  db: Database,
  dependencies: ClientDependencies,
  clientId: string,
  metadata: unknown,
  { firstParty, source }: { firstParty?: boolean; source?: AuditSource } = {},
): Promise<{ client: Client; clientSecret?: string } | undefined> {
  const current = await findClient(db, clientId);
  if (!current) return undefined;
  if (current.registeredBy === 'document') throw notUpdatable();
  await checkUpdate(dependencies, current, metadata);
  const valid = await validateMetadata(dependencies, clientId, metadata);
  const issue = needsSecret(valid) && current.secretHash === null;
  const issued = issue ? await issueClientSecret(dependencies.bcrypt) : undefined;
  const client = await db.transaction(async (tx) => {
    const [updated] = await tx
      .update(oidcClients)
      .set({
        metadata: valid,
        updatedAt: new Date(),
        ...(firstParty !== undefined && { firstParty }),
        ...(issued && { secretHash: issued.secretHash }),
        ...(!needsSecret(valid) && { secretHash: null, previousSecretHash: null, previousSecretExpiresAt: null }),
      })
      .where(eq(oidcClients.clientId, clientId))
      .returning();
    if (updated) {
      const changed = changedMembers(current.metadata, valid);
      await record(tx, {
        event: 'client.updated',
        clientId,
        source,
        details: { changed, ...(firstParty !== undefined && { first_party: firstParty }) },
      });
    }
    return updated;
  });
  return client && { client, ...(issued && { clientSecret: issued.secret }) };
}

function notUpdatable(): HttpError {
  return new HttpError(400, 'invalid_request', 'The metadata of this client is the document at its client_id.');
}

/** The names of metadata that differ, for the audit log. */
export function changedMembers(before: ClientMetadata, after: ClientMetadata): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => !isDeepStrictEqual(before[name], after[name])).sort();
}

const notInUpdates = [
  'registration_access_token',
  'registration_client_uri',
  'client_secret_expires_at',
  'client_id_issued_at',
];

/** RFC 7592 §2.2: the request names its client, does not choose its secret, and leaves out what is not metadata. */
async function checkUpdate({ bcrypt }: ClientDependencies, client: Client, body: unknown): Promise<void> {
  const asked = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const refuse = (description: string) => new HttpError(400, 'invalid_request', description);
  const extra = notInUpdates.find((name) => asked[name] !== undefined);
  if (extra) throw refuse(`Leave ${extra} out of an update.`);
  if (asked.client_id !== client.clientId) throw refuse('client_id must be the id of the client that is updated.');
  const { client_secret: secret } = asked;
  if (secret === undefined) return;
  const same = typeof secret === 'string' && client.secretHash && (await bcrypt.compare(secret, client.secretHash));
  if (!same) throw refuse('client_secret is not the current one: leave it out, or ask for a new secret.');
}

/** Deletes a client with all that was issued to it and allowed to it. False when there is none. */
export async function deleteClient(db: Database, clientId: string, source?: AuditSource): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [deleted] = await tx.delete(oidcClients).where(eq(oidcClients.clientId, clientId)).returning();
    await tx.delete(oidcGrants).where(eq(oidcGrants.clientId, clientId));
    if (!deleted) return false;
    const { client_name } = deleted.metadata;
    await record(tx, { event: 'client.deleted', clientId, source, details: { client_name } });
    return true;
  });
}

/**
 * Gives a client a new secret, shown this once. The old one stops at once, or after `graceSeconds`; one that was in such
 * a time already stops at once. Undefined when there is no such client, or it has no secret. Throws `BusyError`.
 */
export async function rotateClientSecret(
  db: Database,
  { bcrypt }: Pick<ClientDependencies, 'bcrypt'>,
  clientId: string,
  graceSeconds: number,
  source?: AuditSource,
): Promise<{ client: Client; clientSecret: string } | undefined> {
  const { secret, secretHash } = await issueClientSecret(bcrypt);
  const now = new Date();
  const grace = graceSeconds > 0;
  return db.transaction(async (tx) => {
    const [client] = await tx
      .update(oidcClients)
      .set({
        secretHash,
        previousSecretHash: grace ? sql`${oidcClients.secretHash}` : null,
        previousSecretExpiresAt: grace ? new Date(now.getTime() + graceSeconds * 1000) : null,
        updatedAt: now,
      })
      .where(and(eq(oidcClients.clientId, clientId), isNotNull(oidcClients.secretHash)))
      .returning();
    if (!client) return undefined;
    await record(tx, { event: 'client.secret-rotated', clientId, source, details: { grace_seconds: graceSeconds } });
    return { client, clientSecret: secret };
  });
}

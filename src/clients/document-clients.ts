/**
 * Clients whose id is the address of their metadata (client ID metadata documents). A document is fetched through the
 * guard, held to the rules of registration, and kept as a client that nobody vouches for; all instances share the copy.
 */
import { and, eq, lte, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { type ClientMetadata, oidcClients } from '../db/schema.ts';
import { HttpError, tooManyRequests } from '../http/errors.ts';
import { addressKey } from '../http/rate-limit.ts';
import { countHit } from '../http/throttle.ts';
import type { ClientDirectory } from './client-directory.ts';
import { type MetadataDependencies, validateMetadata } from './client-metadata.ts';
import { type Client, changedMembers, findClient } from './clients.ts';
import { DocumentUnreachable, documentMetadata, documentRefused, fetchDocument } from './metadata-document.ts';

export type DocumentClientsDependencies = MetadataDependencies & {
  db: Database;
  findKnown: ClientDirectory;
  fetch: typeof globalThis.fetch;
};

/**
 * The client of a document, with `source` whoever names it: the document is then fetched when it must. Without, only a
 * copy counts. Throws `HttpError` when it cannot be had, is refused, or too much was asked for.
 */
export type FindDocumentClient = (clientId: string, source: AuditSource | undefined) => Promise<Client | undefined>;

/** While its address does not answer, a copy is good for this long. */
const usableMs = 2 * 24 * 60 * 60 * 1000;
/** Whoever finds a copy old asks alone for this long, and an address that does not answer is left alone for as long. */
const leaseMs = 60 * 1000;
/** Documents that one address may have fetched: it chooses where this server sends requests. */
const fetchesPerMinute = 30;

export function createDocumentClients(dependencies: DocumentClientsDependencies): FindDocumentClient {
  const { db, findKnown, fetch } = dependencies;
  const underWay = new Map<string, Promise<Client>>();

  return async (clientId, source) => {
    const known = await findKnown(clientId);
    const client = known && isUsable(known) ? known : undefined;
    if (!source) return client;
    if (!client) return fetchFirst(clientId, source);
    if (isFresh(client) || !(await claimRefresh(db, clientId))) return client;
    try {
      return await load(clientId, source);
    } catch (error) {
      if (error instanceof DocumentUnreachable) return client;
      if (error instanceof HttpError) await dropCopy(db, clientId);
      throw error;
    }
  };

  /** Requests that come while the same document is being fetched wait for it. */
  async function fetchFirst(clientId: string, source: AuditSource): Promise<Client> {
    const earlier = underWay.get(clientId);
    if (earlier) return earlier;
    const loading = loadFirst(clientId, source).finally(() => underWay.delete(clientId));
    underWay.set(clientId, loading);
    return loading;
  }

  async function loadFirst(clientId: string, source: AuditSource): Promise<Client> {
    // It may have come since this request looked.
    const known = await findClient(db, clientId);
    if (known && isUsable(known)) return known;
    await countFetch(db, source);
    return load(clientId, source);
  }

  async function load(clientId: string, source: AuditSource): Promise<Client> {
    const { document, freshMs } = await fetchDocument(fetch, clientId);
    const metadata = await validateMetadata(dependencies, clientId, documentMetadata(document)).catch(refuse);
    return saveCopy(db, clientId, metadata, freshMs, source);
  }
}

function refuse(error: unknown): never {
  throw error instanceof HttpError ? documentRefused(`is not acceptable: ${error.message}`, error) : error;
}

function isUsable({ documentFetchedAt }: Client): boolean {
  return documentFetchedAt !== null && documentFetchedAt.getTime() > Date.now() - usableMs;
}

function isFresh({ documentFreshUntil }: Client): boolean {
  return documentFreshUntil !== null && documentFreshUntil.getTime() > Date.now();
}

async function countFetch(db: Database, { address }: AuditSource): Promise<void> {
  const { hits, resetAt } = await countHit(db, `rate:documents:${addressKey(address)}`, 60);
  if (hits > fetchesPerMinute) throw tooManyRequests(Math.max(1, Math.ceil((resetAt.getTime() - Date.now()) / 1000)));
}

const isCopy = (clientId: string) => and(eq(oidcClients.clientId, clientId), eq(oidcClients.registeredBy, 'document'));

async function claimRefresh(db: Database, clientId: string): Promise<boolean> {
  const now = new Date();
  const claimed = await db
    .update(oidcClients)
    .set({ documentFreshUntil: new Date(now.getTime() + leaseMs) })
    .where(and(isCopy(clientId), lte(oidcClients.documentFreshUntil, now)))
    .returning({ clientId: oidcClients.clientId });
  return claimed.length === 1;
}

/** What was accepted once is not any more: the next request begins from nothing. */
async function dropCopy(db: Database, clientId: string): Promise<void> {
  await db.update(oidcClients).set({ documentFetchedAt: null }).where(isCopy(clientId));
}

async function saveCopy(
  db: Database,
  clientId: string,
  metadata: ClientMetadata,
  freshMs: number,
  source: AuditSource,
): Promise<Client> {
  const now = new Date();
  const copy = { metadata, documentFetchedAt: now, documentFreshUntil: new Date(now.getTime() + freshMs) };
  return db.transaction(async (tx) => {
    const [inserted] = await tx
      .insert(oidcClients)
      .values({ clientId, registeredBy: 'document', usedAt: null, createdAt: now, updatedAt: now, ...copy })
      .onConflictDoNothing()
      .returning();
    if (inserted) {
      const details = { client_name: metadata.client_name, registered_by: 'document' };
      await record(tx, { event: 'client.registered', clientId, source, details });
      return inserted;
    }
    const [before] = await tx.select().from(oidcClients).where(isCopy(clientId)).for('update');
    if (!before) throw documentRefused('is at an address that is the id of another client');
    const changed = changedMembers(before.metadata, metadata);
    const [updated] = await tx
      .update(oidcClients)
      .set({
        ...copy,
        ...(changed.length > 0 && { updatedAt: now }),
        // Never used means: not since it was last asked for.
        createdAt: sql`case when ${oidcClients.usedAt} is null then ${now.toISOString()}::timestamptz else ${oidcClients.createdAt} end`,
      })
      .where(isCopy(clientId))
      .returning();
    if (changed.length > 0) await record(tx, { event: 'client.updated', clientId, source, details: { changed } });
    return updated as Client;
  });
}

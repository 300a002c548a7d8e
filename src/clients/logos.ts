/**
 * Logos of clients, copied through the guarded fetch and shown from this origin: a page never makes a browser ask a
 * client's server, which would tell it who looks, and never waits for one (SECURITY 40).
 */
import { and, eq, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { clientLogos } from '../db/schema.ts';
import { OutboundError, readBounded } from '../http/outbound.ts';
import type { Client } from './clients.ts';
import { pictureType } from './picture-type.ts';

const maxBytes = 256 * 1024;
const freshMs = 24 * 60 * 60 * 1000;
/** A logo that could not be had is asked for again after this. */
const retryMs = 10 * 60 * 1000;

/**
 * The path of a client's logo when there is a usable copy. One that is missing or old is asked for by `refresh`, which
 * works in the background; this page does without it.
 */
export async function logoPath(
  db: Database,
  client: Client,
  refresh: (client: Client) => void,
): Promise<string | undefined> {
  const { logo_uri: uri } = client.metadata;
  if (typeof uri !== 'string') return undefined;
  const { sourceUri, contentType, fetchedAt } = clientLogos;
  const [copy] = await db
    .select({ contentType, fetchedAt })
    .from(clientLogos)
    .where(and(eq(clientLogos.clientId, client.clientId), eq(sourceUri, uri)));
  if (!copy || isStale(copy)) refresh(client);
  return copy?.contentType ? `/clients/${encodeURIComponent(client.clientId)}/logo` : undefined;
}

function isStale({ contentType, fetchedAt }: { contentType: string | null; fetchedAt: Date }): boolean {
  return fetchedAt.getTime() <= Date.now() - (contentType === null ? retryMs : freshMs);
}

/**
 * Copies a client's logo when there is no fresh copy. Whoever finds it stale claims the fetch first, so that a busy page
 * makes one request and not one for each view. A failure keeps the copy that there is of the same address.
 */
export async function refreshLogo(db: Database, fetch: typeof globalThis.fetch, client: Client): Promise<void> {
  const { logo_uri: uri } = client.metadata;
  if (typeof uri !== 'string' || !(await claimFetch(db, client.clientId, uri))) return;
  const picture = await fetchPicture(fetch, uri);
  await db
    .update(clientLogos)
    .set(picture)
    .where(and(eq(clientLogos.clientId, client.clientId), eq(clientLogos.sourceUri, uri)));
}

async function claimFetch(db: Database, clientId: string, uri: string): Promise<boolean> {
  const { sourceUri, contentType, body, fetchedAt } = clientLogos;
  const same = sql`${sourceUri} = excluded.source_uri`;
  const claimed = await db
    .insert(clientLogos)
    .values({ clientId, sourceUri: uri, fetchedAt: new Date() })
    .onConflictDoUpdate({
      target: clientLogos.clientId,
      set: {
        sourceUri: uri,
        contentType: sql`case when ${same} then ${contentType} end`,
        body: sql`case when ${same} then ${body} end`,
        fetchedAt: sql`excluded.fetched_at`,
      },
      setWhere: sql`${sourceUri} <> excluded.source_uri or ${fetchedAt} <=
        case when ${contentType} is null then ${before(retryMs)} else ${before(freshMs)} end`,
    })
    .returning({ clientId: clientLogos.clientId });
  return claimed.length === 1;
}

function before(milliseconds: number) {
  return sql`${new Date(Date.now() - milliseconds).toISOString()}::timestamptz`;
}

async function fetchPicture(
  fetch: typeof globalThis.fetch,
  uri: string,
): Promise<{ contentType: string; body: Buffer }> {
  const response = await fetch(uri, { headers: { Accept: 'image/*' } });
  if (!response.ok) {
    await response.body?.cancel();
    throw new OutboundError(`the logo was answered with status ${response.status}`);
  }
  const body = await readBounded(response, maxBytes);
  const contentType = pictureType(body);
  if (!contentType) throw new OutboundError('the logo is none of PNG, JPEG, GIF, WebP, AVIF and SVG');
  return { contentType, body };
}

/** The copy of a client's logo, if it is of the address that is registered now. */
export async function findLogo(
  db: Database,
  client: Client,
): Promise<{ contentType: string; body: Buffer } | undefined> {
  const { logo_uri: uri } = client.metadata;
  if (typeof uri !== 'string') return undefined;
  const [copy] = await db
    .select({ contentType: clientLogos.contentType, body: clientLogos.body })
    .from(clientLogos)
    .where(and(eq(clientLogos.clientId, client.clientId), eq(clientLogos.sourceUri, uri)));
  return copy?.contentType && copy.body ? { contentType: copy.contentType, body: copy.body } : undefined;
}

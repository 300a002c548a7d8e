/**
 * Clients that came from outside and never got a token, be it a try that was left or a flood of them. They are absent
 * once their time is up, and deleted in the background later. The operator's own stay.
 */
import { and, eq, gt, inArray, isNotNull, isNull, ne, or, type SQL, sql } from 'drizzle-orm';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { type Batch, type Deleted, type Expiring, lockExpired } from '../db/expired.ts';
import { oidcClients, oidcGrants } from '../db/schema.ts';
import type { Client } from './clients.ts';

const dayMs = 24 * 60 * 60 * 1000;
/** How long a client may stay without a token. */
export const unusedDays = 30;

const { registeredBy, firstParty, usedAt, createdAt } = oidcClients;
const lastDay = () => new Date(Date.now() - unusedDays * dayMs);

/** True when the client's first token is still to be noted. */
export function isUnused(client: Pick<Client, 'registeredBy' | 'firstParty' | 'usedAt'>): boolean {
  return client.usedAt === null && client.registeredBy !== 'operator' && !client.firstParty;
}

/** True for a client that is absent, whether or not it was deleted yet. */
export function isGone(client: Pick<Client, 'registeredBy' | 'firstParty' | 'usedAt' | 'createdAt'>): boolean {
  return isUnused(client) && client.createdAt <= lastDay();
}

/** The clients that there are, as a condition on their table. */
export function isKept(): SQL | undefined {
  return or(isNotNull(usedAt), eq(registeredBy, 'operator'), firstParty, gt(createdAt, lastDay()));
}

export const unusedClients: Expiring = {
  table: oidcClients,
  at: createdAt,
  where: () => and(isNull(usedAt), ne(registeredBy, 'operator'), eq(firstParty, false)),
};

/** Notes the first token; later ones change nothing. */
export async function markClientUsed(db: Database, clientId: string): Promise<void> {
  await db
    .update(oidcClients)
    .set({ usedAt: new Date() })
    .where(and(eq(oidcClients.clientId, clientId), isNull(usedAt)));
}

/** Deletes a batch of clients whose time is up, with all that was issued to them. Several instances may do so at once. */
export function deleteUnusedClients(db: Database, batch: Batch = { before: lastDay(), limit: 100 }): Promise<Deleted> {
  return db.transaction(async (tx) => {
    const { rows } = await tx.execute<{ clientId: string; upTo: string }>(sql`
      with over as (${lockExpired(unusedClients, batch, sql`client_id`)})
      select client_id as "clientId", at::text as "upTo" from over order by at`);
    const clientIds = rows.map(({ clientId }) => clientId);
    if (clientIds.length === 0) return { deleted: 0 };
    await tx.delete(oidcClients).where(inArray(oidcClients.clientId, clientIds));
    await tx.delete(oidcGrants).where(inArray(oidcGrants.clientId, clientIds));
    for (const clientId of clientIds) {
      await record(tx, { event: 'client.deleted', clientId, details: { reason: 'never used' } });
    }
    return { deleted: clientIds.length, upTo: rows.at(-1)?.upTo };
  });
}

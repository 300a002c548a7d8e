/**
 * Clients that came from outside and never got a token, be it a try that was left or a flood of them. They are absent
 * once their time is up, and deleted in the background later. The operator's own stay.
 */
import { and, eq, gt, inArray, isNotNull, isNull, lte, ne, or, type SQL } from 'drizzle-orm';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
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

/** The clients that there are, as a condition on their table. */
export function isKept(): SQL | undefined {
  return or(isNotNull(usedAt), eq(registeredBy, 'operator'), firstParty, gt(createdAt, lastDay()));
}

function isOver(): SQL | undefined {
  return and(isNull(usedAt), ne(registeredBy, 'operator'), eq(firstParty, false), lte(createdAt, lastDay()));
}

/** Notes the first token; later ones change nothing. */
export async function markClientUsed(db: Database, clientId: string): Promise<void> {
  await db
    .update(oidcClients)
    .set({ usedAt: new Date() })
    .where(and(eq(oidcClients.clientId, clientId), isNull(usedAt)));
}

const batchSize = 100;
/** What one call takes on, so that it never takes long; the next call goes on. */
const maxBatches = 50;

/** Deletes clients whose time is up, with all that was issued to them. Several instances may do so at once. */
export async function deleteUnusedClients(db: Database): Promise<void> {
  for (let batch = 0; batch < maxBatches; batch += 1) {
    if ((await deleteBatch(db)) < batchSize) return;
  }
}

async function deleteBatch(db: Database): Promise<number> {
  return db.transaction(async (tx) => {
    const over = await tx
      .select({ clientId: oidcClients.clientId })
      .from(oidcClients)
      .where(isOver())
      .limit(batchSize)
      .for('update', { skipLocked: true });
    const clientIds = over.map(({ clientId }) => clientId);
    if (clientIds.length === 0) return 0;
    await tx.delete(oidcClients).where(inArray(oidcClients.clientId, clientIds));
    await tx.delete(oidcGrants).where(inArray(oidcGrants.clientId, clientIds));
    for (const clientId of clientIds) {
      await record(tx, { event: 'client.deleted', clientId, details: { reason: 'never used' } });
    }
    return clientIds.length;
  });
}

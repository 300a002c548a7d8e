import { and, asc, gte, isNotNull, lt, lte, min } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { auditEvents } from '../db/schema.ts';
import { announce, lockChain, saveChain } from './chain.ts';
import { record } from './record.ts';

const batch = 5_000;

/**
 * Removes the events at the beginning of the chain that are older than `days`, and writes down that it did. The hash of the
 * last one removed stays, so that the chain still verifies. Answers how many went. Nothing goes while the chain is broken.
 * @param key the secret of the seal
 * @throws {AuditChainError}
 */
export async function removeOldEvents(db: Database, key: string, days: number, now = new Date()): Promise<number> {
  const before = new Date(now.getTime() - days * 24 * 60 * 60 * 1000);
  for (let removed = 0; ; ) {
    const more = await removeBatch(db, key, before);
    removed += more;
    if (more < batch) return removed;
  }
}

function removeBatch(db: Database, key: string, before: Date): Promise<number> {
  return db.transaction(async (tx) => {
    const chain = await lockChain(tx, key);
    if (!chain) return 0;
    const old = await tx
      .select({ position: auditEvents.position, hash: auditEvents.hash })
      .from(auditEvents)
      .where(and(isNotNull(auditEvents.position), lt(auditEvents.position, await firstToKeep(tx, before))))
      .orderBy(asc(auditEvents.position))
      .limit(batch);
    const last = old.at(-1);
    if (!last?.position || !last.hash) return 0;
    await announce(tx, 'retention');
    await tx.delete(auditEvents).where(lte(auditEvents.position, last.position));
    // What lies before a restarted chain goes without moving its beginning.
    if (last.position > chain.anchorPosition) {
      await saveChain(tx, key, { ...chain, anchorPosition: last.position, anchorHash: last.hash });
    }
    await record(tx, {
      event: 'audit-log.shortened',
      details: { removed: old.length, to_position: last.position, before: before.toISOString() },
    });
    return old.length;
  });
}

/** Only a whole beginning goes: an event of before the limit that stands behind a younger one waits for it. */
async function firstToKeep(tx: Database, before: Date): Promise<number> {
  const [young] = await tx
    .select({ position: min(auditEvents.position) })
    .from(auditEvents)
    .where(and(isNotNull(auditEvents.position), gte(auditEvents.at, before)));
  return young?.position ?? Number.MAX_SAFE_INTEGER;
}

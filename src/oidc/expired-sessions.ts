import { inArray, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { type Batch, type Deleted, type Expiring, lockExpired } from '../db/expired.ts';
import { oidcSessionIds, oidcSessions } from '../db/schema.ts';
import { deleteGrants } from './artifacts.ts';
import { deleteBareGrants } from './expired-artifacts.ts';

export const expiringSessions: Expiring = { table: oidcSessions, at: oidcSessions.expiresAt };
export const endedSessions: Expiring = { table: oidcSessions, at: oidcSessions.endedAt };
/** Cookie values that have a successor. */
export const retiredSessionIds: Expiring = { table: oidcSessionIds, at: oidcSessionIds.until };

/**
 * Deletes a batch of sessions with all that clients held for their time, as when a session is ended (session-end.ts), and the
 * grants that were for longer but have nothing left. Sessions come before grants, as everywhere.
 */
export function deleteExpiredSessions(db: Database, which: Expiring, batch: Batch): Promise<Deleted> {
  return db.transaction(async (tx) => {
    const { rows } = await tx.execute<{
      uids: string[] | null;
      upTo: string | null;
      endingIds: string[] | null;
      lastingIds: string[] | null;
    }>(sql`
      with over as (${lockExpired(which, batch, sql`uid, payload -> 'authorizations' as authorizations`)}),
      held as (
        select client.value ->> 'grantId' as id, client.value ->> 'persistsLogout' = 'true' as lasting
        from over cross join lateral jsonb_each(coalesce(over.authorizations, '{}')) client
      )
      select (select array_agg(uid) from over) as uids, (select max(at)::text from over) as "upTo",
        (select array_agg(id) from held where id is not null and lasting is not true) as "endingIds",
        (select array_agg(id) from held where id is not null and lasting) as "lastingIds"`);
    const [{ uids, upTo, endingIds, lastingIds } = { uids: null, upTo: null, endingIds: null, lastingIds: null }] =
      rows;
    if (!uids) return { deleted: 0 };
    await tx.delete(oidcSessions).where(inArray(oidcSessions.uid, uids));
    await deleteGrants(tx, endingIds ?? []);
    await deleteBareGrants(tx, lastingIds ?? []);
    return { deleted: uids.length, upTo: upTo ?? undefined };
  });
}

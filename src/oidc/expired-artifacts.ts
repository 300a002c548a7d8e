import { sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { type Batch, type Deleted, type Expiring, lockExpired } from '../db/expired.ts';
import { oidcGrants, oidcSessions } from '../db/schema.ts';

export const expiringArtifacts: Expiring = { table: oidcGrants, at: oidcGrants.expiresAt };

/**
 * Deletes a batch of tokens, codes and the like. Where the last refresh token of a grant was among them and the session
 * that it came from is gone, the grant goes as well: it lives for months, and nothing can come of it any more.
 */
export function deleteExpiredArtifacts(db: Database, batch: Batch): Promise<Deleted> {
  return db.transaction(async (tx) => {
    const { rows } = await tx.execute<{ deleted: number; upTo: string | null; grantIds: string[] | null }>(sql`
      with over as (${lockExpired(expiringArtifacts, batch, sql`ctid, model, grant_id`)}),
      gone as (delete from ${oidcGrants} where ctid = any (array(select ctid from over)))
      select count(*)::int as deleted, max(over.at)::text as "upTo",
        array_agg(distinct over.grant_id) filter (where over.model = 'RefreshToken') as "grantIds" from over`);
    const [{ deleted, upTo, grantIds } = { deleted: 0, upTo: null, grantIds: null }] = rows;
    await deleteBareGrants(tx, grantIds?.filter(Boolean) ?? []);
    return { deleted, upTo: upTo ?? undefined };
  });
}

/** Deletes those of the grants on which nothing hangs and which no session holds. What somebody has locked just now stays. */
export async function deleteBareGrants(tx: Database, grantIds: readonly string[]): Promise<void> {
  if (grantIds.length === 0) return;
  await tx.execute(sql`
    delete from ${oidcGrants} where ctid = any (array(
      select bare.ctid from ${oidcGrants} bare
      where bare.model = 'Grant' and bare.id = any (${sql.param(grantIds)}::text[])
        and not exists (select from ${oidcGrants} hanging where hanging.grant_id = bare.id)
        and not exists (select from ${oidcSessions} session where session.account_id = bare.account_id
          and session.ended_at is null
          and session.payload -> 'authorizations' -> bare.client_id ->> 'grantId' = bare.id)
      for update skip locked))`);
}

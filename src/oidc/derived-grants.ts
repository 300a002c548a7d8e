/**
 * Grants of exchanged tokens (RFC 8693). A token that one client got for another's hangs on a grant of its own, which
 * names its origin and is there only as long as that is: whatever ends the origin ends what was made of it.
 */
import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { oidcGrants } from '../db/schema.ts';
import { randomToken } from '../lib/random.ts';

export type DerivedGrant = {
  originId: string;
  accountId: string;
  clientId: string;
  /** Seconds of the epoch. */
  expiresAt: number;
};

/**
 * Makes a grant for `clientId` out of another's, which may be derived itself: all of them name the same first one.
 * Answers its id; undefined when the origin is gone.
 */
export async function deriveGrant(
  db: Database,
  { originId, accountId, clientId, expiresAt }: DerivedGrant,
): Promise<string | undefined> {
  const id = randomToken();
  const now = new Date();
  const payload = { kind: 'Grant', accountId, clientId, iat: Math.floor(now.getTime() / 1000), exp: expiresAt };
  // Locked, so that it cannot be revoked and given again, under the same id, in between.
  const { rowCount } = await db.execute(sql`
    with first as (
      select coalesce(grant_id, id) as id from ${oidcGrants} where model = 'Grant' and id = ${originId}
    ), live as (
      select its.id from ${oidcGrants} its join first on its.id = first.id
      where its.model = 'Grant' and its.expires_at > ${now.toISOString()}::timestamptz
      for share of its
    )
    insert into ${oidcGrants} (model, id, payload, grant_id, account_id, client_id, expires_at)
    select 'Grant', ${id}, ${JSON.stringify(payload)}::jsonb, live.id, ${accountId}, ${clientId},
      ${new Date(expiresAt * 1000).toISOString()}::timestamptz
    from live`);
  return rowCount === 1 ? id : undefined;
}

/**
 * The condition that the row called "grant" is not derived, or that its origin is there.
 * @param now the present as ISO text
 */
export function originLives(now: string | SQLWrapper): SQL {
  return sql`("grant".grant_id is null or exists (select from ${oidcGrants} origin
    where origin.model = 'Grant' and origin.id = "grant".grant_id and origin.expires_at > ${now}::timestamptz))`;
}

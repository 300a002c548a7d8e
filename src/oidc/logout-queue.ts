import { eq, sql } from 'drizzle-orm';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { backchannelLogouts, oidcClients } from '../db/schema.ts';

/** A logout token to be delivered. `attempts` counts the one that is due now. */
export type DueLogout = {
  id: string;
  clientId: string;
  accountId: string;
  sid: string | null;
  attempts: number;
  /** Host and port that it goes to. */
  host: string;
};

/** What follows a failed attempt, the first one first; the last attempt is followed by nothing. */
export const retryAfterSeconds: readonly number[] = [10, 60, 5 * 60, 30 * 60, 2 * 3600, 6 * 3600, 12 * 3600];
export const maxAttempts = retryAfterSeconds.length + 1;

/** A last attempt that never came to its end is made once more after this. */
const lastLeaseSeconds = 60;

/** How far down the queue is looked for a host that has turns left. */
const depth = 500;

/**
 * Takes up to `limit` of what is due, of one host up to `perHost`, of `fullHosts` nothing. The time of the next attempt
 * is set at once: until then nobody else takes the same, and a process that dies is no more than a failed attempt.
 */
export async function claimDueLogouts(
  db: Database,
  { limit, perHost, fullHosts }: { limit: number; perHost: number; fullHosts: readonly string[] },
): Promise<DueLogout[]> {
  const now = sql`${new Date().toISOString()}::timestamptz`;
  const waits = sql`${sql.param(retryAfterSeconds)}::int[]`;
  const { rows } = await db.execute<DueLogout>(sql`
    with waiting as (
      select logout.id, logout.next_attempt_at, client.host from ${backchannelLogouts} logout
      join lateral (
        select lower(split_part(metadata ->> 'backchannel_logout_uri', '/', 3)) as host from ${oidcClients}
        where client_id = logout.client_id
      ) client on true
      where logout.next_attempt_at <= ${now} and client.host <> all (${sql.param(fullHosts)}::text[])
      order by logout.next_attempt_at limit ${depth}
    ),
    turns as (
      select id, host, row_number() over (partition by host order by next_attempt_at) as turn from waiting
    ),
    claimed as (
      select logout.id, turns.host from ${backchannelLogouts} logout join turns on turns.id = logout.id
      where turns.turn <= ${perHost} and logout.next_attempt_at <= ${now}
      order by logout.next_attempt_at limit ${limit} for update of logout skip locked
    )
    update ${backchannelLogouts} logout set attempts = logout.attempts + 1, next_attempt_at = ${now}
      + make_interval(secs => coalesce((${waits})[logout.attempts + 1], ${lastLeaseSeconds}))
    from claimed where claimed.id = logout.id
    returning logout.id, logout.client_id as "clientId", logout.account_id as "accountId", logout.sid,
      logout.attempts, claimed.host`);
  return rows;
}

/** Takes one off the queue for good, and records how that came about. */
export async function finishLogout(
  db: Database,
  { id, clientId, accountId, attempts }: DueLogout,
  event: 'logout.delivered' | 'logout.given-up',
  details: { reason?: string } = {},
): Promise<void> {
  await db.transaction(async (tx) => {
    const deleted = await tx.delete(backchannelLogouts).where(eq(backchannelLogouts.id, id)).returning();
    if (deleted.length === 1) await record(tx, { event, accountId, clientId, details: { attempts, ...details } });
  });
}

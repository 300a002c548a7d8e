import { sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { auditEvents } from '../db/schema.ts';

/** What somebody is told who has just signed in, as the audit log has it. */
export type SignInNews = {
  /** This sign-in is the one that kept the account from being deleted. */
  kept: boolean;
  /** Wrong passwords and codes since the sign-in before, if they are worth a word; `since` is absent without one before. */
  tries: { failed: number; since: Date | undefined } | undefined;
};

/** Fewer are the owner's own slips. */
const fewestToTell = 5;

export async function findSignInNews(
  db: Database,
  { uid, accountId, loginAt }: { uid: string; accountId: string; loginAt: Date },
): Promise<SignInNews> {
  const { rows } = await db.execute<{ kept: boolean; failed: number; since: string | Date | null }>(sql`
    with seen as (
      select id, event, at, session_uid from ${auditEvents} where account_id = ${accountId}
        and event in ('login.succeeded', 'login.failed', 'account.deletion-cancelled')
    ),
    own as (select max(id) as id from seen where session_uid = ${uid} and event <> 'login.failed'),
    before as (
      select id, at from seen where event = 'login.succeeded' and session_uid is distinct from ${uid}
        and at < ${loginAt.toISOString()}::timestamptz order by id desc limit 1
    )
    select
      coalesce((select event = 'account.deletion-cancelled' from seen, own where seen.id < own.id and event <> 'login.failed'
        order by seen.id desc limit 1), false) as kept,
      (select count(*)::int from seen where event = 'login.failed' and id > coalesce((select id from before), 0)) as failed,
      (select at from before) as since`);
  const { kept = false, failed = 0, since } = rows[0] ?? {};
  return { kept, tries: failed < fewestToTell ? undefined : { failed, since: since ? new Date(since) : undefined } };
}

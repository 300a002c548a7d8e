/**
 * Storage for browser sessions that loses no update. The library reads a session, changes it and writes it whole, so two
 * requests at once would undo each other. Here a session is a row under its stable uid; cookie values are handles that
 * lead to it; authorizations are merged per client; and a session that ended is never written again.
 */
import { and, eq, gt, isNull, or, sql } from 'drizzle-orm';
import { errors } from 'oidc-provider';
import type { Database } from '../db/database.ts';
import { oidcSessionIds, oidcSessions } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';
import type { Payload } from './artifacts.ts';

/** How long the cookie value before a mere renewal still leads to the session: other tabs are under way with it. */
const renewalGraceMs = 30_000;

const seenEveryMs = 60 * 60 * 1000;

/** Writes a session under its uid and makes sure that `id` leads to it. `expiresIn` in seconds. */
export async function upsertSession(db: Database, id: string, payload: Payload, expiresIn: number): Promise<void> {
  const { jti, ...stored } = payload as Payload & { uid: string };
  const loginTs = typeof stored.loginTs === 'number' ? stored.loginTs : 0;
  const accountId = typeof stored.accountId === 'string' ? stored.accountId : null;
  const now = new Date().toISOString();
  const expiresAt = new Date(Date.now() + expiresIn * 1000);
  await db.execute(sql`
    with session as (
      insert into ${oidcSessions} (uid, account_id, payload, login_ts, last_seen_at, created_at, expires_at)
      values (${stored.uid}, ${accountId}, ${JSON.stringify(stored)}::jsonb, ${loginTs}, ${now}::timestamptz,
              ${now}::timestamptz, ${expiresAt.toISOString()}::timestamptz)
      on conflict (uid) do update set
        account_id = excluded.account_id,
        payload = ${mergedPayload},
        login_ts = greatest(excluded.login_ts, oidc_sessions.login_ts),
        expires_at = excluded.expires_at
      where oidc_sessions.ended_at is null
        and (excluded.login_ts >= oidc_sessions.login_ts or oidc_sessions.account_id = excluded.account_id)
      returning uid
    )
    insert into ${oidcSessionIds} (id_hash, uid)
    select ${sha256(id)}, uid from session
    on conflict (id_hash) do nothing`);
}

/**
 * For the same person, what each client holds is the union of both writers, the later one's values winning, and the
 * newer sign-in stays; for another person the session starts afresh under the same uid. (A writer that read the session
 * before somebody else signed in is turned away by the `where` above.)
 */
const mergedPayload = sql.raw(`
  case when oidc_sessions.account_id is distinct from excluded.account_id then excluded.payload
  else case when excluded.login_ts >= oidc_sessions.login_ts then excluded.payload else oidc_sessions.payload end
    || (select case when count(client) = 0 then '{}' else jsonb_build_object('authorizations',
          jsonb_object_agg(client, coalesce(held.old -> client, '{}') || coalesce(held.new -> client, '{}'))
            filter (where client is not null)) end
        from (select coalesce(oidc_sessions.payload -> 'authorizations', '{}') as old,
                     coalesce(excluded.payload -> 'authorizations', '{}') as new) held
        left join lateral (select jsonb_object_keys(held.old) union select jsonb_object_keys(held.new)) clients (client)
          on true)
  end`);

/** The live session that a cookie value leads to. */
export async function findSession(db: Database, id: string): Promise<Payload | undefined> {
  const now = new Date();
  const [row] = await db
    .select({ payload: oidcSessions.payload, uid: oidcSessions.uid, lastSeenAt: oidcSessions.lastSeenAt })
    .from(oidcSessionIds)
    .innerJoin(oidcSessions, eq(oidcSessions.uid, oidcSessionIds.uid))
    .where(
      and(
        eq(oidcSessionIds.idHash, sha256(id)),
        or(isNull(oidcSessionIds.until), gt(oidcSessionIds.until, now)),
        gt(oidcSessions.expiresAt, now),
        isNull(oidcSessions.endedAt),
      ),
    );
  if (row && (row.lastSeenAt?.getTime() ?? 0) < now.getTime() - seenEveryMs) await noteSeen(db, row.uid, now);
  return row && { ...row.payload, jti: id };
}

/** People are told the hour at which a session was last used; no request but the first of an hour writes. */
async function noteSeen(db: Database, uid: string, now: Date): Promise<void> {
  await db.update(oidcSessions).set({ lastSeenAt: now }).where(eq(oidcSessions.uid, uid));
}

/** The live session with this uid. It carries no id: it can be read, and ended by uid, but not saved. */
export async function findSessionByUid(db: Database, uid: string): Promise<Payload | undefined> {
  const [row] = await db
    .select({ payload: oidcSessions.payload })
    .from(oidcSessions)
    .where(and(eq(oidcSessions.uid, uid), gt(oidcSessions.expiresAt, new Date()), isNull(oidcSessions.endedAt)));
  return row?.payload;
}

/** Answered with a page and not at the client: whoever sits here can start the sign-in again. */
export function sessionEnded(): Error {
  return Object.assign(new errors.SessionNotFound('the session ended meanwhile'), { allow_redirect: false });
}

/** Throws `sessionEnded` unless the session is live, which it then stays until the transaction `tx` is over. */
export async function requireLiveSession(tx: Database, uid: string): Promise<void> {
  const live = await tx
    .select({ uid: oidcSessions.uid })
    .from(oidcSessions)
    .where(and(eq(oidcSessions.uid, uid), isNull(oidcSessions.endedAt)))
    .for('share');
  if (live.length === 0) throw sessionEnded();
}

/** Retires a cookie value whose successor is stored, after `graceMs`. */
export async function retireSessionId(db: Database, oldId: string, graceMs = renewalGraceMs): Promise<void> {
  const until = new Date(Date.now() + graceMs);
  await db
    .update(oidcSessionIds)
    .set({ until: sql`least(${oidcSessionIds.until}, ${until.toISOString()}::timestamptz)` })
    .where(eq(oidcSessionIds.idHash, sha256(oldId)));
}

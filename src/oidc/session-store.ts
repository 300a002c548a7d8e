/**
 * Storage for browser sessions that loses no update. The library reads a session, changes it and writes it whole, so two
 * requests at once would undo each other. Here a session is a row under its stable uid; cookie values are handles that
 * lead to it; authorizations are merged per client; and a session that ended is never written again.
 */
import { isDeepStrictEqual } from 'node:util';
import { and, eq, isNull, sql } from 'drizzle-orm';
import { errors } from 'oidc-provider';
import { accountOfJson, activeAccountJson } from '../accounts/joined-account.ts';
import type { Database } from '../db/database.ts';
import { oidcGrants, oidcSessionIds, oidcSessions } from '../db/schema.ts';
import { run, statement } from '../db/statement.ts';
import { sha256 } from '../lib/hash.ts';
import type { Payload } from './artifacts.ts';
import { originLives } from './derived-grants.ts';
import { forget, type Known, take } from './request-memo.ts';

/** How long the cookie value before a mere renewal still leads to the session: other tabs are under way with it. */
const renewalGraceMs = 30_000;

const seenEveryMs = 60 * 60 * 1000;

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

const upsertion = statement<
  Record<'idHash' | 'uid' | 'payload' | 'now' | 'expiresAt', string> & { accountId: string | null; loginTs: number }
>(
  ({ idHash, uid, payload, now, expiresAt, accountId, loginTs }) => sql`
    with session as (
      insert into ${oidcSessions} (uid, account_id, payload, login_ts, last_seen_at, created_at, expires_at)
      values (${uid}, ${accountId}, ${payload}::jsonb, ${loginTs}, ${now}::timestamptz, ${now}::timestamptz,
              ${expiresAt}::timestamptz)
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
    select ${idHash}::text, uid from session
    on conflict (id_hash) do nothing`,
);

/** A session that is used without being changed is written, for its end to move, once in this part of its lifetime. */
const renewedAfter = 0.01;

/**
 * Writes a session under its uid and makes sure that `id` leads to it. `expiresIn` in seconds. What this request read just
 * so is not written.
 */
export async function upsertSession(
  db: Database,
  known: Known | undefined,
  id: string,
  payload: Payload,
  expiresIn: number,
): Promise<void> {
  const { jti, ...stored } = payload as Payload & { uid: string };
  const expiresAt = Date.now() + expiresIn * 1000;
  const read = known?.storedSessions.get(id);
  if (read && Math.abs(expiresAt - read.expiresAt) < expiresIn * 1000 * renewedAfter && isSame(stored, read.payload))
    return;
  forget(known);
  await run(db, upsertion, {
    idHash: sha256(id),
    uid: stored.uid,
    payload: JSON.stringify(stored),
    loginTs: typeof stored.loginTs === 'number' ? stored.loginTs : 0,
    accountId: typeof stored.accountId === 'string' ? stored.accountId : null,
    now: new Date().toISOString(),
    expiresAt: new Date(expiresAt).toISOString(),
  });
}

/** But for the end, which moves with every use. */
function isSame(session: Payload, stored: string): boolean {
  return isDeepStrictEqual({ ...JSON.parse(JSON.stringify(session)), exp: 0 }, { ...JSON.parse(stored), exp: 0 });
}

type StoredSession = {
  /** As text: the library changes what it is given. */
  payload: string;
  uid: string;
  /** Instants are epoch milliseconds. */
  lastSeenAt: number | null;
  expiresAt: number;
  accountId: string | null;
  account: Record<string, unknown> | null;
  grantId: string | null;
  grant: Payload | null;
};

const sessionById = statement<{ idHash: string; clientId: string | null; now: string }, StoredSession>(
  ({ idHash, clientId, now }) => sql`
    select session.payload::text as payload, session.uid,
      (extract(epoch from session.last_seen_at) * 1000)::float8 as "lastSeenAt",
      (extract(epoch from session.expires_at) * 1000)::float8 as "expiresAt",
      session.account_id as "accountId", ${activeAccountJson(sql`session.account_id`)} as account,
      held.id as "grantId",
      (select "grant".payload from ${oidcGrants} "grant"
        where "grant".model = 'Grant' and "grant".id = held.id
          and ("grant".expires_at is null or "grant".expires_at > ${now}::timestamptz)
          and ${originLives(now)}) as "grant"
    from ${oidcSessionIds} handle join ${oidcSessions} session on session.uid = handle.uid
      cross join lateral (select session.payload #>> array['authorizations', ${clientId}::text, 'grantId'] as id) held
    where handle.id_hash = ${idHash} and (handle.until is null or handle.until > ${now}::timestamptz)
      and session.expires_at > ${now}::timestamptz and session.ended_at is null`,
);

/**
 * The live session that a cookie value leads to, and with it what is to be known of its account, and of the grant that the
 * client `clientId` has in it.
 */
export async function findSession(
  db: Database,
  known: Known | undefined,
  id: string,
  clientId?: string,
): Promise<Payload | undefined> {
  const now = new Date();
  const { rows } = await run(db, sessionById, {
    idHash: sha256(id),
    clientId: clientId ?? null,
    now: now.toISOString(),
  });
  const [row] = rows;
  if (!row) return undefined;
  if ((row.lastSeenAt ?? 0) < now.getTime() - seenEveryMs) await noteSeen(db, row.uid, now);
  if (known) {
    const { payload, expiresAt, accountId, account, grantId, grant } = row;
    known.storedSessions.set(id, { payload, expiresAt });
    if (accountId) known.accounts.set(accountId, account ? accountOfJson(account) : undefined);
    if (grantId) known.grants.set(grantId, grant ?? undefined);
  }
  return { ...JSON.parse(row.payload), jti: id };
}

/** People are told the hour at which a session was last used; no request but the first of an hour writes. */
async function noteSeen(db: Database, uid: string, now: Date): Promise<void> {
  await db.update(oidcSessions).set({ lastSeenAt: now }).where(eq(oidcSessions.uid, uid));
}

const sessionByUid = statement<{ uid: string; now: string }, { payload: Payload }>(
  ({ uid, now }) => sql`
    select payload from ${oidcSessions}
    where uid = ${uid} and expires_at > ${now}::timestamptz and ended_at is null`,
);

/** The live session with this uid. It carries no id: it can be read, and ended by uid, but not saved. */
export function findSessionByUid(db: Database, known: Known | undefined, uid: string): Promise<Payload | undefined> {
  return take(known?.sessions, uid, async () => {
    const { rows } = await run(db, sessionByUid, { uid, now: new Date().toISOString() });
    return rows[0]?.payload;
  });
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

/**
 * How sessions end, as a whole or for one client. Each way is one transaction that ends, deletes what clients held for
 * the time of the session, and queues the logout tokens that it owes them: no crash leaves one without the others.
 */
import { type SQL, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { backchannelLogouts, oidcClients, oidcSessionIds, oidcSessions } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';
import { deleteGrants, deleteGrantsOf } from './artifacts.ts';

/** How many sessions ended, and how many clients are to be told. */
export type Ended = { sessions: number; logouts: number };

/** Ends the session that the cookie value `id` leads to, for every tab and every request still under way. */
export function endSession(db: Database, id: string, source?: AuditSource): Promise<Ended> {
  return db.transaction(async (tx) => {
    const { rows } = await tx.execute<{ uid: string; accountId: string | null }>(sql`
      select session.uid, session.account_id as "accountId"
      from ${oidcSessions} session join ${oidcSessionIds} handle on handle.uid = session.uid
      where handle.id_hash = ${sha256(id)} and session.ended_at is null for update of session`);
    const [session] = rows;
    if (!session) return { sessions: 0, logouts: 0 };
    const { uid, accountId } = session;
    const ended = await settle(
      tx,
      sql`update ${oidcSessions} session set ended_at = ${now()} where uid = ${uid}
          returning session.account_id, session.payload -> 'authorizations' as authorizations`,
    );
    const details = { logouts: ended.logouts };
    if (accountId) await record(tx, { event: 'session.ended', accountId, sessionUid: uid, source, details });
    return ended;
  });
}

/**
 * Ends every session of an account, in every browser, and deletes the codes, tokens and grants that hang on it,
 * whichever session they came from. Consents stay: once the person has signed in again, clients need not ask anew.
 * Needs a transaction.
 */
export async function endSessionsOf(db: Database, accountId: string): Promise<Ended> {
  const ended = await settle(db, endingOf(accountId));
  await deleteGrantsOf(db, accountId);
  return ended;
}

/** In an order: two at once must not wait for each other. */
function endingOf(accountId: string, which: SQL = sql`true`): SQL {
  return sql`update ${oidcSessions} session set ended_at = ${now()}
    from (select uid from ${oidcSessions} where account_id = ${accountId} and ended_at is null and ${which}
          order by uid for update) live
    where session.uid = live.uid
    returning session.account_id, session.payload -> 'authorizations' as authorizations`;
}

/** `endSessionsOf` as an act of its own. Without a source it is the operator's. */
export function signOutEverywhere(db: Database, accountId: string, source?: AuditSource): Promise<Ended> {
  return db.transaction(async (tx) => {
    const ended = await endSessionsOf(tx, accountId);
    await record(tx, { event: 'sessions.ended', accountId, source, details: { ...ended } });
    return ended;
  });
}

/** Ends one session of an account by its uid; none when it has ended already or is somebody else's. */
export function endSessionByUid(db: Database, accountId: string, uid: string, source: AuditSource): Promise<Ended> {
  return db.transaction(async (tx) => {
    const ended = await settle(tx, endingOf(accountId, sql`uid = ${uid}`));
    const { sessions, logouts } = ended;
    if (sessions > 0)
      await record(tx, { event: 'session.ended', accountId, sessionUid: uid, source, details: { logouts } });
    return ended;
  });
}

/** Ends every session of an account but the one that asks for it. What was allowed for always (offline_access) stays. */
export function endOtherSessions(db: Database, accountId: string, uid: string, source: AuditSource): Promise<Ended> {
  return db.transaction(async (tx) => {
    const ended = await settle(tx, endingOf(accountId, sql`uid <> ${uid}`));
    if (ended.sessions > 0)
      await record(tx, { event: 'sessions.ended', accountId, source, details: { ...ended, others: true } });
    return ended;
  });
}

/** Makes a session nobody's, so that somebody else can sign in to it: what its account held there ends. */
export function leaveSession(db: Database, uid: string, accountId: string, source: AuditSource): Promise<Ended> {
  const loginTs = Math.floor(Date.now() / 1000);
  return db.transaction(async (tx) => {
    const ended = await settle(
      tx,
      sql`update ${oidcSessions} session
        set account_id = null, login_ts = greatest(session.login_ts, ${loginTs}),
          payload = session.payload - '{accountId,authorizations,state,acr,amr,loginTs}'::text[]
        from (select uid, account_id, payload from ${oidcSessions}
              where uid = ${uid} and account_id = ${accountId} and ended_at is null for update) before
        where session.uid = before.uid
        returning before.account_id, before.payload -> 'authorizations' as authorizations`,
    );
    const details = { logouts: ended.logouts, reason: 'another person signed in' };
    if (ended.sessions > 0) await record(tx, { event: 'session.ended', accountId, sessionUid: uid, source, details });
    return ended;
  });
}

/** Ends a session for one client: the person signed out there and stays signed in here. */
export function leaveClient(db: Database, uid: string, clientId: string): Promise<Ended> {
  return settle(
    db,
    sql`update ${oidcSessions} session set payload = session.payload #- array['authorizations', ${clientId}::text]
        from (select uid, account_id, payload -> 'authorizations' -> ${clientId}::text as held from ${oidcSessions}
              where uid = ${uid} and ended_at is null and payload -> 'authorizations' ? ${clientId}::text for update) before
        where session.uid = before.uid
        returning before.account_id, jsonb_build_object(${clientId}::text, before.held) as authorizations`,
  );
}

/**
 * @param ending an update that returns, for each session that it ends, `account_id` and the library's `authorizations`:
 *   client → `{ sid, grantId, persistsLogout }`
 */
function settle(db: Database, ending: SQL): Promise<Ended> {
  return db.transaction(async (tx) => {
    // Clients are locked before grants, as when a client is deleted; one that is deleted meanwhile is not told.
    const { rows } = await tx.execute<Ended & { grantIds: string[] | null }>(sql`
      with ended as (${ending}),
      held as (
        select ended.account_id, client.key as client_id, client.value as authorization
        from ended cross join lateral jsonb_each(coalesce(ended.authorizations, '{}')) client
        where ended.account_id is not null
      ),
      queued as (
        insert into ${backchannelLogouts} (id, client_id, account_id, sid, next_attempt_at, created_at)
        select gen_random_uuid()::text, client.client_id, held.account_id, held.authorization ->> 'sid', ${now()}, ${now()}
        from held join ${oidcClients} client on client.client_id = held.client_id
        where client.metadata ? 'backchannel_logout_uri'
        for key share of client
        returning 1
      )
      select (select count(*)::int from ended) as sessions, (select count(*)::int from queued) as logouts,
        (select array_agg(held.authorization ->> 'grantId') from held
          where held.authorization ->> 'persistsLogout' is distinct from 'true') as "grantIds"`);
    const [{ sessions, logouts, grantIds } = { sessions: 0, logouts: 0, grantIds: null }] = rows;
    await deleteGrants(tx, grantIds?.filter(Boolean) ?? []);
    return { sessions, logouts };
  });
}

function now(): SQL {
  return sql`${new Date().toISOString()}::timestamptz`;
}

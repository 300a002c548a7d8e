/** The sessions of one account, for its person to look at. They end in session-end.ts. */
import { and, desc, eq, gt, isNull, sql } from 'drizzle-orm';
import type { AccountSession } from '../accounts/account-sessions.ts';
import type { AuditSource } from '../audit/events.ts';
import type { Database } from '../db/database.ts';
import { oidcInteraction, oidcSessions } from '../db/schema.ts';
import { deleteGrantsOf } from './artifacts.ts';

const maxUserAgentLength = 300;

/** The live sessions of an account, the last used first. */
export async function listSessions(db: Database, accountId: string): Promise<AccountSession[]> {
  const lastSeenAt = sql`coalesce(${oidcSessions.lastSeenAt}, ${oidcSessions.createdAt})`;
  const rows = await db
    .select()
    .from(oidcSessions)
    .where(
      and(eq(oidcSessions.accountId, accountId), isNull(oidcSessions.endedAt), gt(oidcSessions.expiresAt, new Date())),
    )
    .orderBy(desc(lastSeenAt), oidcSessions.uid);
  return rows.map((row) => {
    const signedInAt = new Date(row.loginTs * 1000);
    const seenAt = row.lastSeenAt ?? row.createdAt;
    return {
      uid: row.uid,
      userAgent: row.userAgent ?? undefined,
      address: row.address ?? undefined,
      signedInAt,
      lastSeenAt: seenAt > signedInAt ? seenAt : signedInAt,
    };
  });
}

/** Notes where a session was signed in to. */
export async function noteSignIn(db: Database, uid: string, { userAgent, address }: AuditSource): Promise<void> {
  await db
    .update(oidcSessions)
    .set({
      userAgent: userAgent?.slice(0, maxUserAgentLength) ?? null,
      address: address ?? null,
      lastSeenAt: new Date(),
    })
    .where(eq(oidcSessions.uid, uid));
}

/** Deletes all that is kept here of an account that is no more, its sessions with what hangs on them. Needs a transaction. */
export async function eraseAccount(db: Database, accountId: string): Promise<void> {
  await db.delete(oidcSessions).where(eq(oidcSessions.accountId, accountId));
  await db.delete(oidcInteraction).where(eq(oidcInteraction.accountId, accountId));
  await deleteGrantsOf(db, accountId);
}

/**
 * How a person leaves. Asking for it ends all that the account is signed in to and keeps clients from using it; for some
 * days signing in takes it back, and then a background job deletes the account for good.
 */
import { and, eq, gt, isNotNull, isNull, lte } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import type { Expiring } from '../db/expired.ts';
import { passkeyChallenges, users } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { notifyAccount } from '../mail/notify.ts';

export const graceDays = 14;

export type DeletionDependencies = {
  db: Database;
  encryption: Encryption;
  /** Ends all that the account is signed in to, inside the transaction that it is given. */
  endSessions(db: Database, accountId: string): Promise<unknown>;
  /** Deletes what other features keep of an account, inside the transaction that it is given. */
  eraseAccount(db: Database, accountId: string): Promise<void>;
};

/**
 * Has the account deleted when the grace period is over, and ends its sessions, codes, tokens and grants now. A second
 * request changes nothing and does not prolong it.
 */
export function requestDeletion(
  { db, encryption, endSessions }: Omit<DeletionDependencies, 'eraseAccount'>,
  accountId: string,
  source: AuditSource,
): Promise<void> {
  return db.transaction(async (tx) => {
    const now = new Date();
    const deletionAt = new Date(now.getTime() + graceDays * 24 * 60 * 60 * 1000);
    const [account] = await tx
      .update(users)
      .set({ deletionAt })
      .where(and(eq(users.id, accountId), isNull(users.deletionAt)))
      .returning({ id: users.id, email: users.email });
    if (!account) return;
    await endSessions(tx, accountId);
    await record(tx, { event: 'account.deletion-requested', accountId, source });
    const undoPath = '/auth/login';
    await notifyAccount(tx, encryption, account, 'deletion-asked', { source, until: deletionAt, undoPath });
  });
}

/** Takes a deletion back whose day has not come, because the person signs in. True when there was one. */
export async function cancelDeletion(
  { db, encryption }: Pick<DeletionDependencies, 'db' | 'encryption'>,
  accountId: string,
  source: AuditSource,
): Promise<boolean> {
  const leaving = and(eq(users.id, accountId), isNull(users.suspendedAt), gt(users.deletionAt, new Date()));
  // Every sign-in asks, and hardly anybody leaves: a look is one statement, a transaction three.
  if ((await db.select({ id: users.id }).from(users).where(leaving)).length === 0) return false;
  return db.transaction(async (tx) => {
    const [account] = await tx
      .update(users)
      .set({ deletionAt: null })
      .where(leaving)
      .returning({ id: users.id, email: users.email });
    if (!account) return false;
    await record(tx, { event: 'account.deletion-cancelled', accountId, source });
    await notifyAccount(tx, encryption, account, 'deletion-cancelled', { source });
    return true;
  });
}

export const dueAccounts: Expiring = { table: users, at: users.deletionAt };

/**
 * Deletes the accounts whose day came `before`, `limit` at most, one a transaction; several instances share the work. Of
 * the audit log the account's id stays. Answers how many there were.
 */
export async function deleteDueAccounts(
  { db, eraseAccount }: Pick<DeletionDependencies, 'db' | 'eraseAccount'>,
  { before = new Date(), limit = Number.POSITIVE_INFINITY }: { before?: Date; limit?: number } = {},
): Promise<number> {
  let deleted = 0;
  while (deleted < limit && (await deleteNextAccount(db, eraseAccount, before))) deleted += 1;
  return deleted;
}

function deleteNextAccount(
  db: Database,
  eraseAccount: DeletionDependencies['eraseAccount'],
  before: Date,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const due = tx
      .select({ id: users.id })
      .from(users)
      .where(and(isNotNull(users.deletionAt), lte(users.deletionAt, before)))
      .orderBy(users.deletionAt)
      .limit(1)
      .for('update', { skipLocked: true });
    const [account] = await tx.delete(users).where(eq(users.id, due)).returning({ id: users.id });
    if (!account) return false;
    await tx.delete(passkeyChallenges).where(eq(passkeyChallenges.accountId, account.id));
    await eraseAccount(tx, account.id);
    await record(tx, { event: 'account.deleted', accountId: account.id, details: { by: 'request' } });
    return true;
  });
}

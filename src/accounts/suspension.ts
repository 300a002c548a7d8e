/**
 * What an operator does to an account that is misused or at risk. A suspended account is as good as absent everywhere
 * (findActiveAccount); nothing it had comes back when it is reinstated: its person signs in anew.
 */
import { and, eq, isNotNull, isNull } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { changeMark } from './account-marks.ts';

export type OperatorsReason = { source?: AuditSource | undefined; reason?: string | undefined };

/** How many sessions ended, and how many clients are to be told. */
export type Ended = { sessions: number; logouts: number };

/**
 * Suspends an account and ends all it is signed in to, with its codes, tokens and grants, in one transaction. Undefined
 * when it was suspended already.
 * @param endSessions ends them inside the transaction that it is given
 */
export function suspendAccount(
  db: Database,
  endSessions: (db: Database, accountId: string) => Promise<Ended>,
  accountId: string,
  { source, reason }: OperatorsReason,
): Promise<Ended | undefined> {
  return db.transaction(async (tx) => {
    // The account first: a sign-in under way waits for this row, and then finds what is said here.
    const suspended = await tx
      .update(users)
      .set({ suspendedAt: new Date() })
      .where(and(eq(users.id, accountId), isNull(users.suspendedAt)))
      .returning({ id: users.id });
    if (suspended.length === 0) return undefined;
    const ended = await endSessions(tx, accountId);
    await record(tx, { event: 'account.suspended', accountId, source, details: { ...given(reason), ...ended } });
    return ended;
  });
}

/** False when it was not suspended. */
export function reinstateAccount(
  db: Database,
  accountId: string,
  { source, reason }: OperatorsReason,
): Promise<boolean> {
  const change = { set: { suspendedAt: null }, only: isNotNull(users.suspendedAt), source, details: given(reason) };
  return db.transaction((tx) => changeMark(tx, accountId, { ...change, event: 'account.reinstated' }));
}

/**
 * Has the next sign-in by password choose another one; sessions that there are go on. False for an account without a
 * password.
 */
export function expirePassword(db: Database, accountId: string, { source, reason }: OperatorsReason): Promise<boolean> {
  const change = { set: { passwordExpiredAt: new Date() }, only: isNotNull(users.passwordHash) };
  return db.transaction((tx) =>
    changeMark(tx, accountId, { ...change, event: 'password.expired', source, details: given(reason) }),
  );
}

function given(reason: string | undefined): { reason?: string } {
  return reason === undefined ? {} : { reason };
}

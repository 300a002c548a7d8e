import { and, eq, type SQL } from 'drizzle-orm';
import type { AuditEvent } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';

type Change = Omit<AuditEvent, 'accountId'> & {
  set: Partial<typeof users.$inferInsert>;
  /** Of the account as it is; else nothing is changed. */
  only: SQL | undefined;
};

/** Changes a mark of an account, and records that, in the transaction `tx`. False when it was not as `only` says. */
export async function changeMark(tx: Database, accountId: string, { set, only, ...event }: Change): Promise<boolean> {
  const changed = await tx
    .update(users)
    .set(set)
    .where(and(eq(users.id, accountId), only))
    .returning({ id: users.id });
  if (changed.length === 0) return false;
  await record(tx, { ...event, accountId });
  return true;
}

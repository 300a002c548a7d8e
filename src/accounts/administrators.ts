/**
 * Administrators of this server, named by its operator. The mark gives no right by itself: it says who may use what
 * administers the server. Whoever has it shows two factors, or no client gets a token for them (oidc/step-up.ts).
 */
import { and, eq, isNotNull, isNull } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { type Account, createAccount, type NewAccount } from './accounts.ts';

/** Marks the account. False when it was marked already, or may not be used now. */
export function grantAdministrator(db: Database, accountId: string, source: AuditSource): Promise<boolean> {
  return db.transaction((tx) => grant(tx, accountId, source));
}

/** False when it was not marked. */
export function withdrawAdministrator(db: Database, accountId: string, source: AuditSource): Promise<boolean> {
  return db.transaction(async (tx) => {
    const withdrawn = await tx
      .update(users)
      .set({ administratorSince: null })
      .where(and(eq(users.id, accountId), isNotNull(users.administratorSince)))
      .returning({ id: users.id });
    if (withdrawn.length === 0) return false;
    await record(tx, { event: 'account.administrator-withdrawn', accountId, source });
    return true;
  });
}

/** An account that is an administrator's from its first moment; undefined when the address has one already. */
export function createAdministrator(
  db: Database,
  person: NewAccount,
  source: AuditSource,
): Promise<Account | undefined> {
  return db.transaction(async (tx) => {
    const created = await createAccount(tx, person);
    if (created.outcome === 'email-taken') return undefined;
    const { account } = created;
    await record(tx, { event: 'account.registered', accountId: account.id, source });
    await grant(tx, account.id, source);
    return account;
  });
}

async function grant(tx: Database, accountId: string, source: AuditSource): Promise<boolean> {
  const usable = and(isNull(users.suspendedAt), isNull(users.deletionAt));
  const granted = await tx
    .update(users)
    .set({ administratorSince: new Date() })
    .where(and(eq(users.id, accountId), isNull(users.administratorSince), usable))
    .returning({ id: users.id });
  if (granted.length === 0) return false;
  await record(tx, { event: 'account.administrator-granted', accountId, source });
  return true;
}

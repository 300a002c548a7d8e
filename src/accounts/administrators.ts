/**
 * Administrators of this server, named by its operator. The mark gives no right by itself: it says who may use what
 * administers the server. Whoever has it shows two factors, or no client gets a token for them (oidc/step-up.ts).
 */
import { and, isNotNull, isNull } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { changeMark } from './account-marks.ts';
import { type Account, createAccount, type NewAccount } from './accounts.ts';

/** Marks the account. False when it was marked already, or may not be used now. */
export function grantAdministrator(db: Database, accountId: string, source: AuditSource): Promise<boolean> {
  return db.transaction((tx) => grant(tx, accountId, source));
}

/** False when it was not marked. */
export function withdrawAdministrator(db: Database, accountId: string, source: AuditSource): Promise<boolean> {
  const change = { set: { administratorSince: null }, only: isNotNull(users.administratorSince) };
  return db.transaction((tx) =>
    changeMark(tx, accountId, { ...change, event: 'account.administrator-withdrawn', source }),
  );
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

function grant(tx: Database, accountId: string, source: AuditSource): Promise<boolean> {
  return changeMark(tx, accountId, {
    set: { administratorSince: new Date() },
    only: and(isNull(users.administratorSince), isNull(users.suspendedAt), isNull(users.deletionAt)),
    event: 'account.administrator-granted',
    source,
  });
}

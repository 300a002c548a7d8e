import { and, eq, isNull, type SQL } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { notifyAccount } from '../mail/notify.ts';
import type { Account } from './accounts.ts';
import { deleteLinks } from './email-links.ts';

export type PasswordStoreDependencies = {
  encryption: Encryption;
  /** Ends all that the account is signed in to, inside the transaction that it is given. */
  endSessions(db: Database, accountId: string): Promise<unknown>;
};

/**
 * Puts a new password in the place of the old one, with all that goes with it: every session ends and what clients hold
 * (SECURITY 21), links in older mails lead nowhere, remembered browsers count no more (they are older than
 * `passwordChangedAt`), the log knows and the person is told (SECURITY 56). Needs a transaction. False, and nothing is
 * done, when the account is suspended or `only` is not true of it.
 */
export async function storePassword(
  tx: Database,
  { encryption, endSessions }: PasswordStoreDependencies,
  account: Pick<Account, 'id' | 'email'>,
  change: {
    passwordHash: string;
    only?: SQL | undefined;
    by: 'password.changed' | 'password.reset';
    emailVerified?: true | undefined;
    source?: AuditSource | undefined;
    details?: Record<string, unknown>;
  },
  now = new Date(),
): Promise<boolean> {
  const { passwordHash, only, by, emailVerified, source, details } = change;
  const stored = await tx
    .update(users)
    .set({
      passwordHash,
      passwordChangedAt: now,
      passwordExpiredAt: null,
      ...(emailVerified && { emailVerified }),
    })
    .where(and(eq(users.id, account.id), isNull(users.suspendedAt), only))
    .returning({ id: users.id });
  if (stored.length === 0) return false;
  await deleteLinks(tx, account.id, ['reset', 'change-old', 'change-new']);
  await endSessions(tx, account.id);
  await record(tx, { event: by, accountId: account.id, source, ...(details && { details }) });
  await notifyAccount(tx, encryption, account, by === 'password.reset' ? 'password-reset' : 'password-changed', {
    source,
  });
  return true;
}

import { and, eq, isNotNull } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { issuesOf } from '../http/body.ts';
import type { Issue } from '../http/errors.ts';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import { type Account, findAccount } from './accounts.ts';
import { hashPassword, verifyPassword } from './password.ts';
import { checkPassword, type PasswordCheck } from './password-policy.ts';
import { ResetForm } from './password-reset.ts';
import { type PasswordStoreDependencies, storePassword } from './password-store.ts';

export type ExpiredPasswordDependencies = PasswordStoreDependencies & {
  db: Database;
  bcrypt: Bcrypt;
  passwordCheck: PasswordCheck;
};

export type Replacement =
  | { outcome: 'replaced'; account: Account }
  | { outcome: 'invalid'; issues: readonly Issue[] }
  /** It was replaced meanwhile, or needs no replacing. */
  | { outcome: 'lost' };

/**
 * Another password for an account whose own may not be used any longer. The caller has seen the old one, and whatever
 * else the account asks for, in this sign-in. Throws `BusyError`.
 */
export async function replaceExpiredPassword(
  dependencies: ExpiredPasswordDependencies,
  account: Account,
  body: unknown,
  source: AuditSource,
): Promise<Replacement> {
  const { db, bcrypt, passwordCheck } = dependencies;
  const form = ResetForm.safeParse(body ?? {});
  if (!form.success) return { outcome: 'invalid', issues: issuesOf(form.error) };
  const { password } = form.data;
  const invalid = (message: string) => ({ outcome: 'invalid' as const, issues: [{ path: 'password', message }] });
  const wrong = await checkPassword(password, passwordCheck, account);
  if (wrong) return invalid(wrong);
  const [row] = await db.select({ hash: users.passwordHash }).from(users).where(eq(users.id, account.id));
  if (!row?.hash) return { outcome: 'lost' };
  const { hash } = row;
  if (await verifyPassword(bcrypt, password, hash)) return invalid('That’s your password now. Choose another.');
  const passwordHash = await hashPassword(bcrypt, password);
  const only = and(eq(users.passwordHash, hash), isNotNull(users.passwordExpiredAt));
  const change = { passwordHash, only, by: 'password.changed' as const, source, details: { reason: 'expired' } };
  const stored = await db.transaction((tx) => storePassword(tx, dependencies, account, change));
  const changed = stored ? await findAccount(db, account.id) : undefined;
  return changed ? { outcome: 'replaced', account: changed } : { outcome: 'lost' };
}

import { eq } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { issuesOf } from '../http/body.ts';
import type { Issue } from '../http/errors.ts';
import type { Pages } from '../http/views.ts';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import type { Account } from './accounts.ts';
import type { Throttled } from './attempts.ts';
import type { Authenticate, Credentials } from './authenticate.ts';
import { fieldProblems } from './field-problems.ts';
import { hashPassword, isSamePassword, verifyPassword } from './password.ts';
import { checkPassword, type PasswordCheck } from './password-policy.ts';
import { type PasswordStoreDependencies, storePassword } from './password-store.ts';
import { RegistrationForm } from './registration.ts';
import { LoginForm, tooManyTries } from './sign-in-page.ts';

const PasswordForm = z.object({
  current_password: LoginForm.shape.password,
  new_password: RegistrationForm.shape.password,
});

export type PasswordChangeDependencies = PasswordStoreDependencies & {
  db: Database;
  bcrypt: Bcrypt;
  authenticate: Authenticate;
  passwordCheck: PasswordCheck;
};

export type PasswordChange =
  | { outcome: 'changed' }
  /** The current password is another one, perhaps since a moment ago. */
  | { outcome: 'rejected' }
  | Throttled
  | { outcome: 'invalid'; issues: readonly Issue[] };

/**
 * Changes the password of `account` as a request body asks, and ends every session of it, this browser's included
 * (SECURITY 21, 55). The current password counts and takes as long as at sign-in. Throws `BusyError`.
 */
export async function changePassword(
  dependencies: PasswordChangeDependencies,
  account: Pick<Account, 'id' | 'email' | 'name'>,
  { body, ...from }: Pick<Credentials, 'address' | 'knownDevice' | 'source'> & { body: unknown },
): Promise<PasswordChange> {
  const { db, bcrypt, authenticate, passwordCheck } = dependencies;
  const form = PasswordForm.safeParse(body ?? {});
  if (!form.success) return { outcome: 'invalid', issues: issuesOf(form.error) };
  const { current_password: current, new_password: wanted } = form.data;
  const wrong = await checkPassword(wanted, passwordCheck, account);
  if (wrong) return { outcome: 'invalid', issues: [{ path: 'new_password', message: wrong }] };

  const authentication = await authenticate({ email: account.email, password: current, ...from });
  if (authentication.outcome === 'suspended') return { outcome: 'rejected' };
  if (authentication.outcome !== 'authenticated') return authentication;
  if (isSamePassword(current, wanted)) {
    const message = 'That’s your password now. Choose another.';
    return { outcome: 'invalid', issues: [{ path: 'new_password', message }] };
  }
  // Authenticating may have stored another hash of the same password, so the one to replace is read and judged here.
  const [row] = await db.select({ hash: users.passwordHash }).from(users).where(eq(users.id, account.id));
  if (!row?.hash || !(await verifyPassword(bcrypt, current, row.hash))) return { outcome: 'rejected' };
  const { hash } = row;
  const passwordHash = await hashPassword(bcrypt, wanted);
  const change = {
    passwordHash,
    only: eq(users.passwordHash, hash),
    by: 'password.changed' as const,
    source: from.source,
  };
  const stored = await db.transaction((tx) => storePassword(tx, dependencies, account, change));
  return { outcome: stored ? 'changed' : 'rejected' };
}

/** The page with the form, with words for what is to mend. What was typed is not sent back. */
export function passwordPage(
  { email }: Pick<Account, 'email'>,
  problem?: Exclude<PasswordChange, { outcome: 'changed' }>,
): { status: 200 | 422 | 429; data: Pages['password'] } {
  const data = { email, current: {}, wanted: {} };
  switch (problem?.outcome) {
    case undefined:
      return { status: 200, data };
    case 'throttled':
      return { status: 429, data: { ...data, problem: tooManyTries(problem.retryAfterSeconds, undefined) } };
    case 'rejected':
      return withIssues(data, [{ path: 'current_password', message: 'That’s not your password now. Try again.' }]);
    case 'invalid':
      return withIssues(data, problem.issues);
  }
}

function withIssues(data: Pages['password'], issues: readonly Issue[]): { status: 422; data: Pages['password'] } {
  const { wrong, problem } = fieldProblems(issues);
  return {
    status: 422,
    data: { ...data, current: wrong('current_password'), wanted: wrong('new_password'), problem },
  };
}

/**
 * A new password by a link in a mail. Asking is answered alike, in words and work, whether the address has an account or
 * not (SECURITY 50). The link proves the address and nothing else: it sets a password and signs nobody in, so a second
 * factor is still asked for (SECURITY 53).
 */
import { and, eq, isNull, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { emailTokens, mails, users } from '../db/schema.ts';
import { issuesOf } from '../http/body.ts';
import type { Issue } from '../http/errors.ts';
import type { Encryption } from '../keys/encryption.ts';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';
import { enqueueMail } from '../mail/queue.ts';
import { type Account, findAccount, normalizeEmail } from './accounts.ts';
import { forgetTriesOf } from './attempt-counts.ts';
import { type Attempts, subjectOf, type Throttled } from './attempts.ts';
import { emailAddress } from './email-address.ts';
import { consumeLink, createLink, deleteLinks, findLink } from './email-links.ts';
import { hashPassword } from './password.ts';
import { checkPassword, type PasswordCheck } from './password-policy.ts';
import { type PasswordStoreDependencies, storePassword } from './password-store.ts';
import { RegistrationForm } from './registration.ts';

/** Longer than the quarter of an hour in which no further mail is sent after three. */
export const resetMinutes = 30;

const ForgotForm = z.object({ email: emailAddress });

export type ResetRequestDependencies = { db: Database; encryption: Encryption; attempts: Attempts };

export type ResetRequest =
  /** Perhaps with a mail, perhaps without: nobody is told. */
  { outcome: 'answered' } | { outcome: 'invalid'; issues: readonly Issue[] } | Throttled;

/**
 * Mails a link to the account with the address that a body names. Earlier links stop working.
 * @param from.returnTo where the person goes on after signing in; kept with the link, not in it
 */
export async function requestReset(
  { db, encryption, attempts }: ResetRequestDependencies,
  body: unknown,
  from: { address: string | undefined; source: AuditSource; returnTo: string | undefined },
): Promise<ResetRequest> {
  const form = ForgotForm.safeParse(body ?? {});
  if (!form.success) return { outcome: 'invalid', issues: issuesOf(form.error) };
  const email = normalizeEmail(form.data.email);
  const spent = await attempts.spend('reset-mail', { account: email, address: from.address });
  if (spent.outcome === 'throttled') return spent;
  if (spent.outcome === 'counted') await db.transaction((tx) => mailLink(tx, encryption, email, form.data.email, from));
  return { outcome: 'answered' };
}

/** The same statements for everybody; what a stranger would be mailed is taken out again before anybody can see it. */
async function mailLink(
  tx: Database,
  encryption: Encryption,
  email: string,
  typed: string,
  { source, returnTo }: { source: AuditSource; returnTo: string | undefined },
): Promise<void> {
  // Locked, so that of two requests at once the second finds the link of the first and ends it.
  const [account] = await tx
    .select({ id: users.id, email: users.email })
    .from(users)
    .where(and(eq(users.emailNormalized, email), isNull(users.suspendedAt)))
    .for('update');
  await deleteLinks(tx, account?.id ?? 'u_nobody', ['reset']);
  const token = await createLink(tx, encryption, {
    purpose: 'reset',
    accountId: account?.id,
    lifetimeSeconds: resetMinutes * 60,
    payload: { email, returnTo } satisfies ResetPayload,
  });
  const data = { path: `/auth/reset-password?token=${token}`, minutes: resetMinutes };
  const id = randomToken(16);
  const to = account?.email ?? typed;
  await enqueueMail(tx, encryption, { template: 'reset-password', to, data, accountId: account?.id }, { id });
  await record(tx, { event: 'password.reset-requested', accountId: account?.id, source });
  const stranger = account ? undefined : sha256(token);
  await tx.execute(sql`with gone as (delete from ${emailTokens} where token_hash = ${stranger ?? ''})
    delete from ${mails} where id = ${stranger ? id : ''}`);
}

const ResetPayload = z.object({ email: z.string(), returnTo: z.string().optional() });
type ResetPayload = z.input<typeof ResetPayload>;

/** A link that is good now, and whose it is. */
export type ResetLink = { account: Account; email: string; returnTo: string | undefined };

/** The link of a token, unused still; undefined when it cannot be used (any more). */
export async function findResetLink(
  { db, encryption }: Pick<ResetRequestDependencies, 'db' | 'encryption'>,
  token: unknown,
): Promise<ResetLink | undefined> {
  const link = await findLink(db, encryption, token, ['reset']);
  const payload = ResetPayload.safeParse(link?.payload).data;
  const account = link?.accountId ? await findResettable(db, link.accountId) : undefined;
  return account && payload && { account, email: payload.email, returnTo: payload.returnTo };
}

/** An account that is to be deleted may have a new password: signing in with it takes the deletion back. */
async function findResettable(db: Database, accountId: string): Promise<Account | undefined> {
  const account = await findAccount(db, accountId);
  return account?.suspendedAt ? undefined : account;
}

export const ResetForm = z.object({ password: RegistrationForm.shape.password });

export type ResetDependencies = PasswordStoreDependencies & {
  db: Database;
  bcrypt: Bcrypt;
  attempts: Attempts;
  passwordCheck: PasswordCheck;
};

export type Reset =
  | { outcome: 'reset'; email: string; returnTo: string | undefined }
  | { outcome: 'invalid'; issues: readonly Issue[]; link: ResetLink }
  /** Used, run out, replaced by a newer one, or never a link. */
  | { outcome: 'lost' }
  | Throttled;

/** Sets the password that a body with a link's token names. Throws `BusyError`. */
export async function resetPassword(
  dependencies: ResetDependencies,
  body: unknown,
  from: { address: string | undefined; source: AuditSource },
): Promise<Reset> {
  const { db, bcrypt, encryption, attempts, passwordCheck } = dependencies;
  const { token } = (body ?? {}) as { token?: unknown };
  const judged = await attempts.judge('link', { address: from.address }, () => findResetLink(dependencies, token));
  if (judged.outcome === 'throttled') return judged;
  if (judged.outcome === 'wrong') return { outcome: 'lost' };
  const link = judged.value;

  const form = ResetForm.safeParse(body);
  if (!form.success) return { outcome: 'invalid', issues: issuesOf(form.error), link };
  const { account, email } = link;
  const wrong = await checkPassword(form.data.password, passwordCheck, account);
  if (wrong) return { outcome: 'invalid', issues: [{ path: 'password', message: wrong }], link };

  const passwordHash = await hashPassword(bcrypt, form.data.password);
  const done = await db.transaction(async (tx) => {
    // The account first: two links of one account at once would else wait for each other.
    await tx.select({ id: users.id }).from(users).where(eq(users.id, account.id)).for('update');
    if (!(await consumeLink(tx, encryption, token, ['reset']))) return false;
    const stored = await storePassword(tx, dependencies, account, {
      passwordHash,
      // What the link proves is the address that it was sent to.
      only: eq(users.emailNormalized, email),
      by: 'password.reset',
      emailVerified: true,
      source: from.source,
    });
    // Whoever tried passwords before cannot keep the owner out now (SECURITY 52).
    if (stored) {
      await forgetTriesOf(tx, [subjectOf(email)], 'password');
      await forgetTriesOf(tx, [subjectOf(email)], 'reset-mail');
    }
    return stored;
  });
  return done ? { outcome: 'reset', email: account.email, returnTo: link.returnTo } : { outcome: 'lost' };
}

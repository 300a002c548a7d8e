/**
 * A change of address. Both sides have to agree by a link: the new address, which proves that it is the person's, and the
 * present one, which proves that the person is who they say, unless it was never proven itself. Each answer uses its
 * link up and is noted with the other one, so the second finds that the first was given. For a week afterwards the address
 * before can take the change back.
 */
import { and, eq, isNull } from 'drizzle-orm';
import { z } from 'zod';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { issuesOf } from '../http/body.ts';
import type { Issue } from '../http/errors.ts';
import type { Encryption } from '../keys/encryption.ts';
import { notifyAccount } from '../mail/notify.ts';
import { enqueueMail } from '../mail/queue.ts';
import { type Account, normalizeEmail } from './accounts.ts';
import type { Attempts, Throttled } from './attempts.ts';
import type { Authenticate } from './authenticate.ts';
import { emailAddress } from './email-address.ts';
import { createLink, deleteLinks, listLinks } from './email-links.ts';
import { LoginForm } from './sign-in-page.ts';

const changeHours = 24;

/** What is sealed with each link. `otherAgreed`: nobody else is asked (any more). */
export const ChangePayload = z.object({
  oldEmail: z.string(),
  oldVerified: z.boolean(),
  newEmail: z.string(),
  otherAgreed: z.boolean(),
});
export type ChangePayload = z.infer<typeof ChangePayload>;

const EmailForm = z.object({ email: emailAddress });

export type EmailChangeDependencies = {
  db: Database;
  encryption: Encryption;
  attempts: Attempts;
  authenticate: Authenticate;
};

export type EmailChangeStart =
  | { outcome: 'asked' }
  /** The password is another one. */
  | { outcome: 'rejected' }
  | { outcome: 'invalid'; issues: readonly Issue[] }
  | Throttled;

type From = { address: string | undefined; knownDevice: string | undefined; source: AuditSource };

/**
 * Asks both addresses whether the account may have the one that a body names, which ends an earlier question. The
 * password, where there is one, counts as at sign-in. Nobody is told whether the address has an account; its mailbox is.
 */
export async function startEmailChange(
  dependencies: EmailChangeDependencies,
  account: Account,
  body: unknown,
  from: From,
): Promise<EmailChangeStart> {
  const { db, attempts, authenticate } = dependencies;
  const usesPassword = await hasPassword(db, account.id);
  const form = (usesPassword ? EmailForm.extend({ password: LoginForm.shape.password }) : EmailForm).safeParse(
    body ?? {},
  );
  if (!form.success) return { outcome: 'invalid', issues: issuesOf(form.error) };
  const { email, password } = { password: '', ...form.data };
  if (email === account.email) {
    return { outcome: 'invalid', issues: [{ path: 'email', message: 'That’s your address now. Enter another.' }] };
  }
  if (usesPassword) {
    const judged = await authenticate({ email: account.email, password, ...from });
    if (judged.outcome === 'throttled') return judged;
    if (judged.outcome !== 'authenticated') return { outcome: 'rejected' };
  }
  // Per account, and per address that would get the mails.
  for (const counted of [account.id, normalizeEmail(email)]) {
    const spent = await attempts.spend('verification-mail', { account: counted, address: from.address });
    if (spent.outcome === 'throttled') return spent;
    if (spent.outcome === 'enough') return { outcome: 'throttled', retryAfterSeconds: 15 * 60 };
  }
  await db.transaction((tx) => askBoth(tx, dependencies.encryption, account, email, from.source));
  return { outcome: 'asked' };
}

async function askBoth(
  tx: Database,
  encryption: Encryption,
  { id }: Account,
  newEmail: string,
  source: AuditSource,
): Promise<void> {
  const account = await lockAccount(tx, id);
  if (!account) return;
  await deleteLinks(tx, id, ['change-old', 'change-new']);
  const { email: oldEmail, emailVerified } = account;
  const now = new Date();
  const payload: ChangePayload = { oldEmail, oldVerified: emailVerified, newEmail, otherAgreed: !emailVerified };
  const ask = async (purpose: 'change-new' | 'change-old') => {
    const link = { purpose, accountId: id, lifetimeSeconds: changeHours * 60 * 60, payload };
    return `/auth/change-email?token=${await createLink(tx, encryption, link, now)}`;
  };
  // Where the address is somebody's, the link is made as well and mailed to nobody: the other one must not do alone.
  const path = await ask('change-new');
  const data = { path, hours: changeHours, oldEmail, alone: !emailVerified };
  await enqueueMail(
    tx,
    encryption,
    (await isTaken(tx, newEmail, id))
      ? { template: 'change-email-taken', to: newEmail, data: { signInPath: '/auth/login' } }
      : { template: 'change-email-new', to: newEmail, data, accountId: id },
  );
  if (emailVerified) {
    const agree = await ask('change-old');
    const data = { path: agree, cancelPath: agree, hours: changeHours, newEmail };
    await enqueueMail(tx, encryption, { template: 'change-email-old', to: oldEmail, data, accountId: id });
  }
  await record(tx, { event: 'email.change-requested', accountId: id, source });
}

/** A change that waits for answers: `waitsFor` are the addresses that have not agreed yet. */
export type PendingChange = { email: string; waitsFor: string[]; until: Date };

export async function findPendingChange(
  db: Database,
  encryption: Encryption,
  accountId: string,
): Promise<PendingChange | undefined> {
  const links = await listLinks(db, encryption, accountId, ['change-new', 'change-old']);
  const [first] = links;
  const payload = ChangePayload.safeParse(first?.payload).data;
  if (!first || !payload) return undefined;
  const { oldEmail, newEmail } = payload;
  const waitsFor = links.map(({ purpose }) => (purpose === 'change-new' ? newEmail : oldEmail));
  return { email: newEmail, waitsFor, until: first.expiresAt };
}

/** Calls a change off, as the signed-in person. True when there was one. */
export async function cancelEmailChange(
  db: Database,
  encryption: Encryption,
  accountId: string,
  source: AuditSource,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const account = await lockAccount(tx, accountId);
    if (!account || !(await findPendingChange(tx, encryption, accountId))) return false;
    await endChange(tx, encryption, account, source);
    return true;
  });
}

/** Needs the account locked. */
export async function endChange(
  tx: Database,
  encryption: Encryption,
  account: Pick<Account, 'id' | 'email'>,
  source: AuditSource,
): Promise<void> {
  await deleteLinks(tx, account.id, ['change-old', 'change-new']);
  await record(tx, { event: 'email.change-cancelled', accountId: account.id, source });
  await notifyAccount(tx, encryption, account, 'email-change-cancelled', { source });
}

/** The account, held until the transaction ends, so that two answers at once come one after the other. */
export async function lockAccount(
  tx: Database,
  accountId: string,
): Promise<Pick<Account, 'id' | 'email' | 'emailNormalized' | 'emailVerified'> | undefined> {
  const [account] = await tx
    .select({
      id: users.id,
      email: users.email,
      emailNormalized: users.emailNormalized,
      emailVerified: users.emailVerified,
    })
    .from(users)
    .where(and(eq(users.id, accountId), isNull(users.suspendedAt)))
    .for('update');
  return account;
}

/** Whether another account has the address. */
export async function isTaken(db: Database, email: string, accountId: string): Promise<boolean> {
  const rows = await db
    .select({ id: users.id })
    .from(users)
    .where(eq(users.emailNormalized, normalizeEmail(email)));
  return rows.some(({ id }) => id !== accountId);
}

export async function hasPassword(db: Database, accountId: string): Promise<boolean> {
  const [row] = await db.select({ hash: users.passwordHash }).from(users).where(eq(users.id, accountId));
  return Boolean(row?.hash);
}

/**
 * Proof that an address is its person's: `email_verified` is true in tokens from then on, and not before. A link proves
 * the address it was sent to and no other, in whichever browser it is opened.
 */
import { and, eq, isNull } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { enqueueMail } from '../mail/queue.ts';
import { type Account, normalizeEmail } from './accounts.ts';
import type { Attempts, Throttled } from './attempts.ts';
import { consumeLink, createLink, deleteLinks } from './email-links.ts';

/** How long a link to prove an address, or to create an account, is good. */
export const verificationHours = 24;

/** The page that links in mails lead to. */
export const verificationPath = (token: string) => `/auth/verify-email?token=${token}`;

type Addressee = Pick<Account, 'id' | 'email'>;

export type VerificationDependencies = { db: Database; encryption: Encryption; attempts: Attempts };

/** Queues the mail with the link, in the transaction that `db` is. Links that were sent before stay good. */
export async function sendVerification(db: Database, encryption: Encryption, { id, email }: Addressee): Promise<void> {
  const token = await createLink(db, encryption, {
    purpose: 'verify',
    accountId: id,
    lifetimeSeconds: verificationHours * 3600,
    payload: { email },
  });
  const data = { path: verificationPath(token), hours: verificationHours };
  await enqueueMail(db, encryption, { template: 'verify-email', to: email, data, accountId: id });
}

/** The person asks for another link. Too many are not sent: the latest is still good. */
export async function resendVerification(
  { db, encryption, attempts }: VerificationDependencies,
  account: Pick<Account, 'id' | 'email' | 'emailVerified'>,
  address: string | undefined,
): Promise<{ outcome: 'sent' } | { outcome: 'verified' } | Throttled> {
  if (account.emailVerified) return { outcome: 'verified' };
  const spent = await attempts.spend('verification-mail', { account: normalizeEmail(account.email), address });
  if (spent.outcome === 'throttled') return spent;
  if (spent.outcome === 'counted') await db.transaction((tx) => sendVerification(tx, encryption, account));
  return { outcome: 'sent' };
}

/**
 * Uses a link to prove an address. Undefined when the link is used up or the account has another address by now; the link
 * of a suspended account changes nothing.
 */
export function verifyEmail(
  { db, encryption }: Pick<VerificationDependencies, 'db' | 'encryption'>,
  token: unknown,
  source: AuditSource,
): Promise<{ id: string; email: string } | undefined> {
  return db.transaction(async (tx) => {
    const link = await consumeLink(tx, encryption, token, ['verify']);
    if (!link?.accountId) return undefined;
    const { email } = link.payload as { email: string };
    const [account] = await tx
      .update(users)
      .set({ emailVerified: true, updatedAt: new Date() })
      .where(
        and(eq(users.id, link.accountId), eq(users.emailNormalized, normalizeEmail(email)), isNull(users.suspendedAt)),
      )
      .returning({ id: users.id, email: users.email });
    if (!account) return undefined;
    await deleteLinks(tx, account.id, ['verify']);
    await record(tx, { event: 'email.verified', accountId: account.id, source });
    return account;
  });
}

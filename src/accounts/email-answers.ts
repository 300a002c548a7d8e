/** What comes back from the links of a change of address (change-email.ts), each once. */
import { eq } from 'drizzle-orm';
import type { z } from 'zod';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { notifyAccount } from '../mail/notify.ts';
import { type Account, normalizeEmail } from './accounts.ts';
import type { Attempts, Throttled } from './attempts.ts';
import { ChangePayload, endChange, isTaken, lockAccount } from './change-email.ts';
import {
  consumeLink,
  createLink,
  deleteLinks,
  type EmailLink,
  findLink,
  listLinks,
  setLinkPayload,
} from './email-links.ts';
import { resetMinutes } from './password-reset.ts';

const undoDays = 7;
const daySeconds = 24 * 60 * 60;

const purposes = ['change-new', 'change-old', 'change-undo'] as const;
const everyPurpose = ['verify', 'reset', ...purposes] as const;

export type EmailAnswerDependencies = {
  db: Database;
  encryption: Encryption;
  attempts: Attempts;
  /** Ends all that the account is signed in to, inside the transaction that it is given. */
  endSessions(db: Database, accountId: string): Promise<unknown>;
};

/** A question that a link asks, unanswered still. */
export type EmailQuestion = { about: 'new' | 'old' | 'undo'; oldEmail: string; newEmail: string };

type OpenQuestion = EmailQuestion & { accountId: string };

const Emails = ChangePayload.pick({ oldEmail: true, newEmail: true });

export async function findEmailQuestion(
  { db, encryption }: Pick<EmailAnswerDependencies, 'db' | 'encryption'>,
  token: unknown,
): Promise<OpenQuestion | undefined> {
  const link = await findLink(db, encryption, token, purposes);
  return link && questionOf(link);
}

function questionOf({ purpose, accountId, payload }: EmailLink): OpenQuestion | undefined {
  const emails = Emails.safeParse(payload).data;
  if (!emails || !accountId) return undefined;
  const about = purpose === 'change-new' ? 'new' : purpose === 'change-old' ? 'old' : 'undo';
  return { about, accountId, ...emails };
}

export type EmailAnswer =
  /** The other side has to agree, too. */
  | { outcome: 'agreed'; waitsFor: string }
  | { outcome: 'changed'; email: string }
  | { outcome: 'cancelled'; email: string }
  /** The account has its address back and no password: the token leads to a new one. */
  | { outcome: 'undone'; email: string; resetToken: string }
  /** The address is somebody else's by now, which is not said. */
  | { outcome: 'impossible' }
  | { outcome: 'lost' }
  | Throttled;

/** @param from.stop the present address says that it was not asked for by its person */
export async function answerEmailQuestion(
  dependencies: EmailAnswerDependencies,
  token: unknown,
  from: { address: string | undefined; source: AuditSource; stop: boolean },
): Promise<EmailAnswer> {
  const { db, attempts } = dependencies;
  const judged = await attempts.judge('link', { address: from.address }, () => findEmailQuestion(dependencies, token));
  if (judged.outcome === 'throttled') return judged;
  if (judged.outcome === 'wrong') return { outcome: 'lost' };
  try {
    return await db.transaction((tx) => answer(tx, dependencies, judged.value, token, from));
  } catch (error) {
    if (isUniqueViolation(error)) return { outcome: 'impossible' };
    throw error;
  }
}

type Held = NonNullable<Awaited<ReturnType<typeof lockAccount>>>;

async function answer(
  tx: Database,
  dependencies: EmailAnswerDependencies,
  { accountId, about, oldEmail, newEmail }: OpenQuestion,
  token: unknown,
  { source, stop }: { source: AuditSource; stop: boolean },
): Promise<EmailAnswer> {
  const { encryption } = dependencies;
  const account = await lockAccount(tx, accountId);
  const link = account && (await consumeLink(tx, encryption, token, purposes));
  if (!account || !link) return { outcome: 'lost' };
  if (about === 'undo') return undo(tx, dependencies, account, oldEmail, source);
  const payload = ChangePayload.safeParse(link.payload).data;
  // Proven meanwhile, the present address has to be asked, too.
  const stands = account.emailNormalized === normalizeEmail(oldEmail) && account.emailVerified === payload?.oldVerified;
  if (!stands) return { outcome: 'lost' };
  if (about === 'old' && stop) {
    await endChange(tx, encryption, account, source);
    return { outcome: 'cancelled', email: account.email };
  }
  if (!payload?.otherAgreed) {
    const [other] = await listLinks(tx, encryption, accountId, ['change-new', 'change-old']);
    if (!other) return { outcome: 'lost' };
    await setLinkPayload(tx, encryption, other, { ...payload, otherAgreed: true });
    return { outcome: 'agreed', waitsFor: about === 'new' ? oldEmail : newEmail };
  }
  if (await isTaken(tx, newEmail, accountId)) return { outcome: 'impossible' };
  await setEmail(tx, accountId, newEmail, { emailVerified: true });
  await deleteLinks(tx, accountId, ['verify', 'reset']);
  await record(tx, { event: 'email.changed', accountId, source });
  // An address that nobody has proven may be a stranger's: it is told nothing, and can take nothing back.
  if (account.emailVerified) await offerUndo(tx, encryption, account, { oldEmail, newEmail }, source);
  return { outcome: 'changed', email: newEmail };
}

async function offerUndo(
  tx: Database,
  encryption: Encryption,
  { id }: Held,
  payload: z.infer<typeof Emails>,
  source: AuditSource,
): Promise<void> {
  const lifetimeSeconds = undoDays * daySeconds;
  const token = await createLink(tx, encryption, { purpose: 'change-undo', accountId: id, lifetimeSeconds, payload });
  await notifyAccount(tx, encryption, { id, email: payload.oldEmail }, 'email-changed', {
    source,
    detail: payload.newEmail,
    until: new Date(Date.now() + lifetimeSeconds * 1000),
    undoPath: `/auth/change-email?token=${token}`,
  });
}

/**
 * Whoever changed the address had the password and a session: all of it ends, links in later mails too, and the
 * person chooses a new password by the link that comes of it.
 */
async function undo(
  tx: Database,
  { encryption, endSessions }: EmailAnswerDependencies,
  account: Held,
  email: string,
  source: AuditSource,
): Promise<EmailAnswer> {
  if (await isTaken(tx, email, account.id)) return { outcome: 'impossible' };
  await setEmail(tx, account.id, email, { emailVerified: true, passwordHash: null, passwordChangedAt: new Date() });
  await deleteLinks(tx, account.id, everyPurpose);
  await endSessions(tx, account.id);
  await record(tx, { event: 'email.changed', accountId: account.id, source, details: { undone: true } });
  await notifyAccount(tx, encryption, account, 'email-changed', { source, detail: email });
  const resetToken = await createLink(tx, encryption, {
    purpose: 'reset',
    accountId: account.id,
    lifetimeSeconds: resetMinutes * 60,
    payload: { email: normalizeEmail(email) },
  });
  return { outcome: 'undone', email, resetToken };
}

/**
 * Gives an account an address, as the operator may where the present mailbox is lost. Links in earlier mails end, those
 * that could take a change back as well. False when another account has it.
 */
export async function assignEmail(
  db: Database,
  encryption: Encryption,
  account: Pick<Account, 'id' | 'email'>,
  { email, emailVerified, source }: { email: string; emailVerified: boolean; source: AuditSource },
): Promise<boolean> {
  try {
    await db.transaction(async (tx) => {
      await setEmail(tx, account.id, email, { emailVerified });
      await deleteLinks(tx, account.id, everyPurpose);
      await record(tx, { event: 'email.changed', accountId: account.id, source });
      await notifyAccount(tx, encryption, account, 'email-changed', { detail: email });
    });
    return true;
  } catch (error) {
    if (isUniqueViolation(error)) return false;
    throw error;
  }
}

async function setEmail(
  tx: Database,
  accountId: string,
  email: string,
  more: Partial<typeof users.$inferInsert>,
): Promise<void> {
  await tx
    .update(users)
    .set({ email, emailNormalized: normalizeEmail(email), updatedAt: new Date(), ...more })
    .where(eq(users.id, accountId));
}

/** The unique index decides, whatever was looked up before. */
function isUniqueViolation(error: unknown): boolean {
  return (error as { cause?: { code?: unknown } } | undefined)?.cause?.code === '23505';
}

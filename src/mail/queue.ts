import { and, desc, eq, isNotNull, isNull, lt, sql } from 'drizzle-orm';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { mails } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { randomToken } from '../lib/random.ts';
import type { Mail } from './mails.ts';

/**
 * Queues a mail, sealed, in the transaction that `db` is: it is sent once that is committed, and never without it.
 * Throws only when the database does; a mail server that is slow or down is nobody's business here.
 * @param options.id names the row, for whoever takes the mail back in the same transaction
 */
export async function enqueueMail(
  db: Database,
  encryption: Encryption,
  mail: Mail,
  { id = randomToken(16), now = new Date() }: { id?: string; now?: Date } = {},
): Promise<void> {
  const messageEncrypted = encryption.encrypt(JSON.stringify(mail), purposeOf(id));
  await db.insert(mails).values({ id, template: mail.template, messageEncrypted, nextAttemptAt: now, createdAt: now });
}

/** A sealed mail opens in its own row only. Throws `DecryptionError`. */
export function openMail(encryption: Encryption, { id, messageEncrypted }: SealedMail): Mail {
  return JSON.parse(encryption.decrypt(messageEncrypted, purposeOf(id))) as Mail;
}

type SealedMail = { id: string; messageEncrypted: string };

const purposeOf = (id: string) => `mail:${id}`;

/** A mail to be sent now. `attempts` counts the one that is due. */
export type DueMail = SealedMail & { template: string; attempts: number; createdAt: Date };

/** What follows a failed attempt, the first one first: three days in all. The last attempt is followed by nothing. */
export const retryAfterSeconds: readonly number[] = [
  10,
  60,
  5 * 60,
  15 * 60,
  ...[1, 2, 4, 8, 16, 20, 20].map((hours) => hours * 3600),
];
export const maxAttempts = retryAfterSeconds.length + 1;

/** Longer than an attempt may take: the mail of a process that died is somebody else's then. */
export const leaseSeconds = 120;

/**
 * Takes up to `limit` of what is due, fresh mails first: what fails again and again holds up nobody. Until its lease is
 * over nobody else takes the same.
 */
export async function claimDueMails(db: Database, limit: number, now = new Date()): Promise<DueMail[]> {
  const at = sql`${now.toISOString()}::timestamptz`;
  const { rows } = await db.execute<DueMail & { createdAt: string | Date }>(sql`
    with due as (
      select id from ${mails} where next_attempt_at <= ${at} and kept_at is null
      order by attempts, next_attempt_at limit ${limit} for update skip locked
    )
    update ${mails} mail set attempts = mail.attempts + 1, next_attempt_at = ${at} + make_interval(secs => ${leaseSeconds})
    from due where due.id = mail.id
    returning mail.id, mail.template, mail.message_encrypted as "messageEncrypted", mail.attempts,
      mail.created_at as "createdAt"`);
  return rows.map((row) => ({ ...row, createdAt: new Date(row.createdAt) }));
}

/** The server has it: nothing of it is kept. */
export async function deleteMail(db: Database, id: string): Promise<void> {
  await db.delete(mails).where(eq(mails.id, id));
}

/** Puts a mail off to its next attempt, unless somebody took it over. */
export async function putOffMail(db: Database, { id, attempts }: DueMail, now = new Date()): Promise<void> {
  const seconds = retryAfterSeconds[attempts - 1] ?? 0;
  await db
    .update(mails)
    .set({ nextAttemptAt: new Date(now.getTime() + seconds * 1000) })
    .where(and(eq(mails.id, id), eq(mails.attempts, attempts)));
}

/** Takes a mail off the queue for good, and records that it never arrived. */
export async function giveUpMail(
  db: Database,
  { id, template, attempts }: Omit<DueMail, 'messageEncrypted' | 'createdAt'>,
  { reason, accountId }: { reason: string; accountId?: string | undefined },
): Promise<void> {
  await db.transaction(async (tx) => {
    const deleted = await tx.delete(mails).where(eq(mails.id, id)).returning({ id: mails.id });
    if (deleted.length === 0) return;
    await record(tx, { event: 'mail.given-up', accountId, details: { mail: template, attempts, reason } });
  });
}

/** Forgets, without a mail server, what waited for three days. Answers how many mails that were. */
export async function giveUpWaiting(db: Database, now = new Date()): Promise<number> {
  const waited = retryAfterSeconds.reduce((sum, seconds) => sum + seconds, 0);
  const before = new Date(now.getTime() - waited * 1000);
  const old = await db
    .select()
    .from(mails)
    .where(and(lt(mails.createdAt, before), isNull(mails.keptAt)));
  for (const mail of old) await giveUpMail(db, mail, { reason: 'no mail server' });
  return old.length;
}

const mostKept = 200;

/**
 * Without a mail server in development: keeps what was queued for the outbox page, newest first, and never sends it, not
 * even once there is a server. What is more than a week old goes.
 */
export async function keptMails(db: Database, now = new Date()): Promise<(SealedMail & { createdAt: Date })[]> {
  await db.update(mails).set({ keptAt: now }).where(isNull(mails.keptAt));
  await db.delete(mails).where(lt(mails.keptAt, new Date(now.getTime() - 7 * 24 * 3600 * 1000)));
  return db
    .select()
    .from(mails)
    .where(isNotNull(mails.keptAt))
    .orderBy(desc(mails.createdAt), desc(mails.id))
    .limit(mostKept);
}

import type { Logger } from 'pino';
import { type Database, reasonOf } from '../db/database.ts';
import type { Encryption } from '../keys/encryption.ts';
import type { Background } from '../lib/background.ts';
import { workOff } from '../lib/work-off.ts';
import type { Letters } from './letters.ts';
import { claimDueMails, type DueMail, deleteMail, giveUpMail, maxAttempts, openMail, putOffMail } from './queue.ts';
import { MailFailure, type SendMail } from './smtp.ts';

export type MailDeliveryDependencies = {
  db: Database;
  encryption: Encryption;
  letters: Letters;
  send: SendMail;
  background: Background;
  log: Logger;
};

const pollMs = 3_000;
const atOnce = 5;
/** However slowly a server answers; shorter than the lease. */
const attemptMs = 60_000;
/** What is under way when the process stops may take this much longer. */
const lastMs = 3_000;

/**
 * Starts delivering, at least once each: a process that dies between the server's 250 and the end of the row sends the
 * mail again, with the same Message-ID. `wake` looks at the queue at once; `stop` hurries what is under way.
 */
export function mailDelivery(dependencies: MailDeliveryDependencies): { wake(): void; stop(): void } {
  const { db, encryption, letters, send, background, log } = dependencies;
  const stopping = new AbortController();
  const queue = workOff(background, {
    looking: 'finding mails to send',
    working: 'sending a mail',
    everyMs: pollMs,
    atOnce,
    take: (limit) => claimDueMails(db, limit),
    work: deliver,
  });

  /** No log line names an address: the id is what mail servers log, too. */
  async function deliver(due: DueMail): Promise<void> {
    const { id, template, attempts } = due;
    const note = { mail: template, mail_id: id, attempts };
    const { failure, accountId } = await attempt(due);
    if (!failure) {
      await deleteMail(db, id);
      log.info(note, 'mail sent');
    } else if (failure.final || attempts >= maxAttempts) {
      await giveUpMail(db, due, { reason: failure.message, accountId });
      log.warn({ ...note, reason: failure.message }, 'mail given up');
    } else {
      await putOffMail(db, due);
      log.warn({ ...note, reason: failure.message }, 'mail could not be sent; it will be tried again');
    }
  }

  async function attempt(due: DueMail): Promise<{ failure?: MailFailure; accountId?: string | undefined }> {
    let accountId: string | undefined;
    try {
      const mail = openMail(encryption, due);
      accountId = mail.accountId;
      const signal = AbortSignal.any([AbortSignal.timeout(attemptMs), stopping.signal]);
      await send({ ...(await letters.write(mail)), id: due.id, createdAt: due.createdAt }, signal);
      return { accountId };
    } catch (error) {
      return { failure: error instanceof MailFailure ? error : new MailFailure(reasonOf(error), false), accountId };
    }
  }

  return {
    wake: queue.wake,
    stop: () => void setTimeout(() => stopping.abort(), lastMs).unref(),
  };
}

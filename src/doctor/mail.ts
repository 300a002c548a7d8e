import { count, isNull, min, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { mails } from '../db/schema.ts';
import { probeSmtp, type SmtpProblem } from '../mail/smtp.ts';
import { mailSettings } from '../mail/start.ts';
import { type DoctorConfig, type Finding, ok, problem, warning } from './finding.ts';

const lateMs = 10 * 60 * 1000;

/** Signs in at the mail server as sending does; with `to` sends a mail there. */
export async function checkMail(config: DoctorConfig, to?: string): Promise<Finding[]> {
  const mail = mailSettings(config);
  if (mail.mode === 'keep') return [ok('mail', 'Mails are kept for the page /dev/outbox.')];
  if (mail.mode === 'wait') {
    const found = 'There is no mail server: nobody can confirm an address or reset a password.';
    return [warning('mail', found, 'Set SMTP_URL and MAIL_FROM.')];
  }
  const failure = await probeSmtp({ ...mail, origin: config.origin }, to);
  if (failure) return [explain(failure)];
  return [ok('mail', to ? `A mail was handed over for ${to}.` : 'The mail server answers and lets us send.')];
}

function explain({ kind, reason }: SmtpProblem): Finding {
  const rows: Record<SmtpProblem['kind'], [found: string, fix: string]> = {
    unreached: [
      'The mail server cannot be reached',
      'Start it, open the firewall, or set host and port of SMTP_URL right',
    ],
    refused: ['The mail server refuses our user or password', 'Set user and password of SMTP_URL right'],
    tls: [
      'There is no trusted encryption to the mail server',
      'Use smtps://, or a server with STARTTLS and a valid certificate',
    ],
    other: [
      'The mail server does not take the mail',
      'Look at its log, and set MAIL_FROM to an address that it sends for',
    ],
  };
  const [found, fix] = rows[kind];
  return problem('mail', `${found} (${reason}).`, `${fix}.`);
}

/** Mails that wait for long, whatever the server says now. */
export async function checkMailQueue(db: Database): Promise<Finding> {
  const [row] = await db
    .select({ waiting: count(), oldest: min(mails.createdAt), now: sql<Date>`now()`.mapWith(mails.createdAt) })
    .from(mails)
    .where(isNull(mails.keptAt));
  const { waiting = 0, oldest, now } = row ?? {};
  if (!oldest || !now || now.getTime() - oldest.getTime() < lateMs)
    return ok('mail queue', `Mails that wait: ${waiting}.`);
  const minutes = Math.round((now.getTime() - oldest.getTime()) / 60_000);
  const found = `Mails that wait: ${waiting}, the oldest for ${minutes} minutes.`;
  return warning('mail queue', found, 'Let a server run that reaches the mail server; its log says what keeps it.');
}

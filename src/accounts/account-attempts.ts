/**
 * What is counted against an account, for its owner and for an operator. A pause that somebody else caused can be ended;
 * it never has to be, for it ends by itself.
 */
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { sha256 } from '../lib/hash.ts';
import { type Account, normalizeEmail } from './accounts.ts';
import { forgetTriesOf, listTries } from './attempt-counts.ts';
import { type AttemptKind, accountKey, subjectOf } from './attempts.ts';

export type CountedAttempts = {
  kind: AttemptKind;
  /** Wrong ones in a row, or mails that were asked for. */
  tries: number;
  /** Whether all of them are; else those of one browser that is known for the account, or of mails from one source. */
  fromAnywhere: boolean;
  /** Until then none is judged. */
  pausedUntil: Date | undefined;
};

export async function listAttempts(
  db: Database,
  account: Pick<Account, 'id' | 'email'>,
  now = new Date(),
): Promise<CountedAttempts[]> {
  const names = namesOf(account);
  const rows = await listTries(db, names.map(subjectOf), now);
  return rows
    .filter(({ tries }) => tries > 0)
    .map(({ kind, tries, key, latestPauseEndsAt }) => ({
      kind: kind as AttemptKind,
      tries,
      fromAnywhere: names.some((name) => sha256(accountKey(kind as AttemptKind, name)) === key),
      pausedUntil: latestPauseEndsAt && latestPauseEndsAt > now ? latestPauseEndsAt : undefined,
    }));
}

/** Ends every pause of the account and forgets what was counted, in known browsers too. False when nothing was. */
export async function clearAttempts(
  db: Database,
  account: Pick<Account, 'id' | 'email'>,
  source?: AuditSource,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const cleared = await forgetTriesOf(tx, namesOf(account).map(subjectOf));
    if (cleared > 0) await record(tx, { event: 'throttle.cleared', accountId: account.id, source });
    return cleared > 0;
  });
}

/** Passwords and mails are counted by address, all else by id. */
function namesOf({ id, email }: Pick<Account, 'id' | 'email'>): string[] {
  return [id, normalizeEmail(email)];
}

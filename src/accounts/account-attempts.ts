/**
 * What is counted against an account, for its owner and for an operator. A pause that somebody else caused can be ended;
 * it never has to be, for it ends by itself.
 */
import { and, count, desc, eq, gt, isNull, lt, ne, or } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { auditEvents } from '../db/schema.ts';
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

/** Fewer are the owner's own slips and not worth a word. */
const fewestToTell = 5;

/**
 * Wrong passwords and codes since the sign-in before the one of `session`, if there were enough of them to tell its
 * owner; undefined else. `since` is undefined when there was no sign-in before.
 */
export async function findFailedAttempts(
  db: Database,
  session: { uid: string; accountId: string; loginAt: Date },
): Promise<{ failed: number; since: Date | undefined } | undefined> {
  const of = (event: 'login.succeeded' | 'login.failed') =>
    and(eq(auditEvents.accountId, session.accountId), eq(auditEvents.event, event));
  const [before] = await db
    .select({ id: auditEvents.id, at: auditEvents.at })
    .from(auditEvents)
    .where(
      and(
        of('login.succeeded'),
        lt(auditEvents.at, session.loginAt),
        or(isNull(auditEvents.sessionUid), ne(auditEvents.sessionUid, session.uid)),
      ),
    )
    .orderBy(desc(auditEvents.id))
    .limit(1);
  const [after] = await db
    .select({ failed: count() })
    .from(auditEvents)
    .where(and(of('login.failed'), before && gt(auditEvents.id, before.id)));
  const failed = after?.failed ?? 0;
  return failed < fewestToTell ? undefined : { failed, since: before?.at };
}

/**
 * The one way from an address and a password to an account; every page and endpoint that takes a password comes through
 * here. Unknown address, wrong password and suspended account are the same answer for the same work (SECURITY 49).
 */
import { and, eq } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { clearHits, uncountHit } from '../http/throttle.ts';
import { type Bcrypt, BusyError } from '../lib/bcrypt-pool.ts';
import { type Account, normalizeEmail } from './accounts.ts';
import { hashPassword, needsRehash, verifyPassword } from './password.ts';
import { countAttempt } from './password-attempts.ts';
import { createTurns } from './turns.ts';

export type Credentials = {
  email: string;
  password: string;
  /** From `findKnownDevice`: this browser's own count of failures, which strangers cannot use up (SECURITY 52). */
  knownDevice?: string | undefined;
};

export type Authentication =
  /** `stillStands` is false when the password was changed or the account suspended since; it waits for a change under way. */
  | { outcome: 'authenticated'; account: Account; stillStands(): Promise<boolean> }
  | { outcome: 'rejected' }
  /** Not judged at all: right and wrong passwords look alike now. */
  | { outcome: 'throttled'; retryAfterSeconds: number };

/** Throws `BusyError` when too many passwords wait to be checked; that attempt does not count. */
export type Authenticate = (credentials: Credentials) => Promise<Authentication>;

/** So that many right passwords at once, each counted before it is judged, do not look like a row of wrong ones. */
const attemptsAtOnce = 4;

export function createAuthenticate({ db, bcrypt }: { db: Database; bcrypt: Bcrypt }): Authenticate {
  const inTurn = createTurns(attemptsAtOnce);
  return (credentials) => {
    const email = normalizeEmail(credentials.email);
    const bucket = `password:${credentials.knownDevice ? `device:${credentials.knownDevice}` : email}`;
    return inTurn(bucket, async () => {
      const attempt = await countAttempt(db, bucket, new Date());
      if (attempt.outcome === 'throttled') return attempt;
      try {
        const verified = await verifyCredentials(db, bcrypt, email, credentials.password);
        if (!verified) return { outcome: 'rejected' };
        await clearHits(db, bucket);
        return { outcome: 'authenticated', ...verified };
      } catch (error) {
        if (error instanceof BusyError) await uncountHit(db, bucket);
        throw error;
      }
    });
  };
}

async function verifyCredentials(
  db: Database,
  bcrypt: Bcrypt,
  email: string,
  password: string,
): Promise<{ account: Account; stillStands(): Promise<boolean> } | undefined> {
  const [row] = await db.select().from(users).where(eq(users.emailNormalized, email));
  const matches = await verifyPassword(bcrypt, password, row?.passwordHash);
  if (!row || !matches || row.suspendedAt) return undefined;
  const { passwordHash, ...account } = row;
  if (passwordHash && needsRehash(bcrypt, passwordHash)) await rehash(db, bcrypt, row.id, passwordHash, password);
  return {
    account,
    async stillStands() {
      const [now] = await db.select().from(users).where(eq(users.id, row.id)).for('share');
      if (!now || now.suspendedAt) return false;
      return now.passwordHash === passwordHash || verifyPassword(bcrypt, password, now.passwordHash);
    },
  };
}

/** The cost was changed since: hashes follow as their owners sign in. A busy moment leaves it for the next time. */
async function rehash(db: Database, bcrypt: Bcrypt, accountId: string, from: string, password: string): Promise<void> {
  try {
    const passwordHash = await hashPassword(bcrypt, password);
    await db
      .update(users)
      .set({ passwordHash })
      .where(and(eq(users.id, accountId), eq(users.passwordHash, from)));
  } catch (error) {
    if (!(error instanceof BusyError)) throw error;
  }
}

/**
 * The one way from an address and a password to an account; every page and endpoint that takes a password comes through
 * here. Unknown address, wrong password and suspended account are the same answer for the same work (SECURITY 49); who has
 * the right password of a suspended account hears so. Wrong ones are recorded.
 */
import { and, eq } from 'drizzle-orm';
import type { AuditEvent, AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { type Bcrypt, BusyError } from '../lib/bcrypt-pool.ts';
import { type Account, normalizeEmail } from './accounts.ts';
import type { Attempts, Throttled } from './attempts.ts';
import { findDecoyHash } from './imported-hashes.ts';
import { hashPassword, needsRehash, verifyPassword } from './password.ts';

export type Credentials = {
  email: string;
  password: string;
  /** Where the try comes from: `req.ip`. */
  address: string | undefined;
  /** From `findDeviceForPassword`: this browser's own count of failures, which strangers cannot use up (SECURITY 52). */
  knownDevice?: string | undefined;
  /** Where a wrong one is recorded to come from. */
  source?: AuditSource | undefined;
};

export type Authentication =
  /** `stillStands` is false when the password was changed or the account suspended since; it waits for a change under way. */
  | { outcome: 'authenticated'; account: Account; stillStands(): Promise<boolean> }
  | { outcome: 'rejected' }
  /** The password was right. */
  | { outcome: 'suspended' }
  /** Not judged at all: right and wrong passwords look alike now. */
  | Throttled;

/** Throws `BusyError` when too many passwords wait to be checked; that attempt does not count. */
export type Authenticate = (credentials: Credentials) => Promise<Authentication>;

export function createAuthenticate({
  db,
  bcrypt,
  attempts,
  addressDigest,
}: {
  db: Database;
  bcrypt: Bcrypt;
  attempts: Attempts;
  /** What is recorded of an address that has no account. */
  addressDigest: (emailNormalized: string) => string;
}): Authenticate {
  return async ({ password, address, knownDevice, source, ...credentials }) => {
    const email = normalizeEmail(credentials.email);
    let facts: Pick<AuditEvent, 'accountId' | 'source' | 'details'> | undefined;
    const judged = await attempts.judge('password', { account: email, address, knownDevice }, async () => {
      const { accountId, verified } = await verifyCredentials(db, bcrypt, email, password);
      if (verified?.outcome !== 'authenticated') {
        const of = accountId ? { reason: verified?.outcome ?? 'wrong' } : { address_digest: addressDigest(email) };
        facts = { accountId, source, details: { method: 'password', ...of } };
        await record(db, { event: 'login.failed', ...facts });
      }
      return verified;
    });
    switch (judged.outcome) {
      case 'right':
        return judged.value;
      case 'wrong':
        if (judged.startsPause) await record(db, { event: 'login.throttled', ...facts });
        return { outcome: 'rejected' };
      case 'throttled':
        return judged;
    }
  };
}

type Verified = Extract<Authentication, { outcome: 'authenticated' | 'suspended' }>;

async function verifyCredentials(
  db: Database,
  bcrypt: Bcrypt,
  email: string,
  password: string,
): Promise<{ accountId: string | undefined; verified: Verified | undefined }> {
  const [row] = await db.select().from(users).where(eq(users.emailNormalized, email));
  const matches = await verifyPassword(bcrypt, password, row?.passwordHash, await findDecoyHash(db));
  if (!row || !matches) return { accountId: row?.id, verified: undefined };
  if (row.suspendedAt) return { accountId: row.id, verified: { outcome: 'suspended' } };
  const { passwordHash, ...account } = row;
  if (passwordHash && needsRehash(bcrypt, passwordHash)) await rehash(db, bcrypt, row.id, passwordHash, password);
  const verified: Verified = {
    outcome: 'authenticated',
    account,
    async stillStands() {
      const [now] = await db.select().from(users).where(eq(users.id, row.id)).for('share');
      if (!now || now.suspendedAt) return false;
      return now.passwordHash === passwordHash || verifyPassword(bcrypt, password, now.passwordHash);
    },
  };
  return { accountId: row.id, verified };
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

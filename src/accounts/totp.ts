/**
 * Authenticator apps (RFC 6238): SHA-1, six digits, 30 seconds, which is what every app understands. Each time step is
 * accepted once, and so is its neighbour on either side for clocks that run apart (SECURITY 54).
 */
import { and, eq, isNotNull, lt } from 'drizzle-orm';
import { Secret, TOTP } from 'otpauth';
import { z } from 'zod';
import type { Database } from '../db/database.ts';
import { totpSecrets } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { totpPurpose } from '../keys/totp-purpose.ts';

const digits = 6;
const stepSeconds = 30;
/** RFC 4226 §4 R6: 160 bits. */
const secretBytes = 20;

/** The six digits that were typed; undefined when it was something else. */
export function readTotpCode(typed: string): string | undefined {
  const code = typed.normalize('NFKC').replace(/[\s-]/g, '');
  return /^[0-9]{6}$/.test(code) ? code : undefined;
}

/**
 * True for the one request that may use `code` now. The check of the step and its use are one statement: of several at
 * once, and of a code seen over a shoulder, one wins.
 */
export async function consumeTotpCode(
  db: Database,
  encryption: Encryption,
  accountId: string,
  code: string,
  now = new Date(),
): Promise<boolean> {
  const [row] = await db
    .select()
    .from(totpSecrets)
    .where(and(eq(totpSecrets.accountId, accountId), isNotNull(totpSecrets.confirmedAt)));
  if (!row) return false;
  const step = stepOf(encryption.decrypt(row.secretEncrypted, totpPurpose(accountId)), code, now);
  if (step === undefined) return false;
  const used = await db
    .update(totpSecrets)
    .set({ lastStep: step })
    .where(
      and(
        eq(totpSecrets.accountId, accountId),
        // Another app may have taken its place since it was read.
        eq(totpSecrets.secretEncrypted, row.secretEncrypted),
        lt(totpSecrets.lastStep, step),
      ),
    )
    .returning({ accountId: totpSecrets.accountId });
  return used.length === 1;
}

/** The time step that `code` is of, now or one to either side. */
function stepOf(secret: string, code: string, now: Date): number | undefined {
  const delta = totp(secret).validate({ token: code, timestamp: now.getTime(), window: 1 });
  return delta === null ? undefined : Math.floor(now.getTime() / 1000 / stepSeconds) + delta;
}

function totp(secret: string, label: { issuer?: string; label?: string } = {}): TOTP {
  return new TOTP({ ...label, secret: Secret.fromBase32(secret), algorithm: 'SHA1', digits, period: stepSeconds });
}

const setUpMinutes = 60;
const setUpPurpose = 'totp-set-up';
const SetUp = z.object({ accountId: z.string(), secret: z.string(), startedAt: z.number() });

/**
 * A secret that is not in force yet. Nothing is stored: `sealed` goes with the form and comes back with the first code,
 * so that an app is only ever replaced by one that works.
 */
export function newTotpSetUp(encryption: Encryption, accountId: string): { sealed: string; secret: string } {
  const secret = new Secret({ size: secretBytes }).base32;
  return {
    secret,
    sealed: encryption.encrypt(JSON.stringify({ accountId, secret, startedAt: Date.now() }), setUpPurpose),
  };
}

/** The secret in `sealed`; undefined when it is not this account's, or too old. */
export function readTotpSetUp(encryption: Encryption, accountId: string, sealed: unknown): string | undefined {
  try {
    const setUp = SetUp.parse(JSON.parse(encryption.decrypt(String(sealed), setUpPurpose)));
    const age = Date.now() - setUp.startedAt;
    return setUp.accountId === accountId && age >= 0 && age < setUpMinutes * 60_000 ? setUp.secret : undefined;
  } catch {
    return undefined;
  }
}

/** Puts `secret` in force if `code` is of it; in the place of the one before. Needs a transaction. */
export async function confirmTotp(
  tx: Database,
  encryption: Encryption,
  accountId: string,
  { secret, code }: { secret: string; code: string },
  now = new Date(),
): Promise<boolean> {
  const step = stepOf(secret, code, now);
  if (step === undefined) return false;
  const columns = {
    secretEncrypted: encryption.encrypt(secret, totpPurpose(accountId)),
    confirmedAt: now,
    lastStep: step,
    createdAt: now,
  };
  await tx
    .insert(totpSecrets)
    .values({ accountId, ...columns })
    .onConflictDoUpdate({ target: totpSecrets.accountId, set: columns });
  return true;
}

/** Keeps the app as it is until the transaction `tx` is over; false when there is none. */
export async function lockTotp(tx: Database, accountId: string): Promise<boolean> {
  const { accountId: id } = totpSecrets;
  return (await tx.select({ id }).from(totpSecrets).where(eq(id, accountId)).for('update')).length === 1;
}

/** False when there was none. */
export async function removeTotp(tx: Database, accountId: string): Promise<boolean> {
  const removed = await tx
    .delete(totpSecrets)
    .where(eq(totpSecrets.accountId, accountId))
    .returning({ accountId: totpSecrets.accountId });
  return removed.length === 1;
}

/** What the QR code says (the apps' common key URI format). */
export function keyUri(secret: string, { issuer, email }: { issuer: string; email: string }): string {
  return totp(secret, { issuer, label: email }).toString();
}

/**
 * Second factors: what an account has to show besides its first one, and how a code that somebody typed is judged.
 * Two-step verification is on while there is an authenticator app; passkeys and recovery codes then serve as well.
 */
import { sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { passkeys, recoveryCodes, totpSecrets } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { notifyAccount } from '../mail/notify.ts';
import type { Account } from './accounts.ts';
import type { Attempts, Throttled } from './attempts.ts';
import { consumeRecoveryCode, readRecoveryCode } from './recovery-codes.ts';
import { consumeTotpCode, readTotpCode } from './totp.ts';

/** `recoveryCodes`: how many are left. */
export type SecondFactors = { totp: boolean; passkeys: number; recoveryCodes: number };

export async function findSecondFactors(db: Database, accountId: string): Promise<SecondFactors> {
  const { rows } = await db.execute<SecondFactors>(sql`select
    exists (select from ${totpSecrets} where account_id = ${accountId} and confirmed_at is not null) as totp,
    (select count(*)::int from ${passkeys} where account_id = ${accountId}) as passkeys,
    (select count(*)::int from ${recoveryCodes} where account_id = ${accountId} and used_at is null) as "recoveryCodes"`);
  return rows[0] ?? { totp: false, passkeys: 0, recoveryCodes: 0 };
}

/** Whether the account can show a second factor at all: then a client that would like one gets it. */
export async function hasSecondFactor(db: Database, accountId: string): Promise<boolean> {
  const { totp, passkeys: count } = await findSecondFactors(db, accountId);
  return totp || count > 0;
}

/** What a program may answer the second step with. */
export function secondFactorMethods({ totp, passkeys: count, recoveryCodes: left }: SecondFactors): string[] {
  return [...(totp ? ['totp'] : []), ...(totp && left > 0 ? ['recovery_code'] : []), ...(count > 0 ? ['passkey'] : [])];
}

export type CodeJudgement =
  /** `recoveryCodesLeft` when it was one of those. RFC 8176 has one word for both: a code that is good once, `otp`. */
  { outcome: 'verified'; amr: readonly string[]; recoveryCodesLeft?: number } | { outcome: 'rejected' } | Throttled;

export type CodeDependencies = { db: Database; encryption: Encryption; attempts: Attempts };

/**
 * Judges what was typed as a code of the authenticator app or as a recovery code, whichever it looks like; spaces and
 * dashes mean nothing. A right one is used up by that (SECURITY 54). Both kinds are counted as one (SECURITY 51).
 */
export async function judgeCode(
  { db, encryption, attempts }: CodeDependencies,
  account: Pick<Account, 'id' | 'email'>,
  typed: string,
  { source, knownDevice }: { source: AuditSource; knownDevice: string | undefined },
): Promise<CodeJudgement> {
  const who = { account: account.id, address: source.address, knownDevice };
  const judged = await attempts.judge('second-factor', who, async () => {
    const digits = readTotpCode(typed);
    if (digits) return (await consumeTotpCode(db, encryption, account.id, digits)) ? {} : undefined;
    const code = readRecoveryCode(typed);
    return code === undefined ? undefined : useRecoveryCode({ db, encryption }, account, code, source);
  });
  switch (judged.outcome) {
    case 'right':
      return { outcome: 'verified', amr: ['otp'], ...judged.value };
    case 'wrong': {
      const facts = {
        accountId: account.id,
        source,
        details: { method: readTotpCode(typed) ? 'totp' : 'recovery-code' },
      };
      await record(db, { event: 'login.failed', ...facts });
      if (judged.startsPause) await record(db, { event: 'login.throttled', ...facts });
      return { outcome: 'rejected' };
    }
    case 'throttled':
      return judged;
  }
}

function useRecoveryCode(
  { db, encryption }: Pick<CodeDependencies, 'db' | 'encryption'>,
  account: Pick<Account, 'id' | 'email'>,
  code: string,
  source: AuditSource,
): Promise<{ recoveryCodesLeft: number } | undefined> {
  return db.transaction(async (tx) => {
    const left = await consumeRecoveryCode(tx, account.id, code);
    if (left === undefined) return undefined;
    await record(tx, { event: 'recovery-code.used', accountId: account.id, source, details: { left } });
    await notifyAccount(tx, encryption, account, 'recovery-code-used', { source, detail: `${left} left` });
    return { recoveryCodesLeft: left };
  });
}

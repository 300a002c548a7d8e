/** Turning two-step sign-in on and off: the app, its recovery codes and the remembered browsers change together. */
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import type { Encryption } from '../keys/encryption.ts';
import { notifyAccount } from '../mail/notify.ts';
import type { Account } from './accounts.ts';
import { deleteRecoveryCodes, replaceRecoveryCodes } from './recovery-codes.ts';
import { forgetBrowsers } from './remembered-devices.ts';
import { confirmTotp, lockTotp, readTotpCode, removeTotp } from './totp.ts';

export type TwoStepDependencies = { db: Database; encryption: Encryption };

type Person = Pick<Account, 'id' | 'email'>;

/**
 * Puts the app with `secret` in force, in the place of one before, once it has shown a right code. Answers new recovery
 * codes, or undefined for a wrong code.
 */
export function turnOnTwoStep(
  { db, encryption }: TwoStepDependencies,
  account: Person,
  { secret, typed }: { secret: string; typed: string },
  source: AuditSource,
): Promise<string[] | undefined> {
  const code = readTotpCode(typed);
  if (code === undefined) return Promise.resolve(undefined);
  return db.transaction(async (tx) => {
    if (!(await confirmTotp(tx, encryption, account.id, { secret, code }))) return undefined;
    const codes = await replaceRecoveryCodes(tx, account.id);
    await forgetBrowsers(tx, account.id, { source });
    await record(tx, { event: 'totp.added', accountId: account.id, source });
    await notifyAccount(tx, encryption, account, 'two-step-on', { source });
    return codes;
  });
}

/** False when it was off. */
export function turnOffTwoStep(
  { db, encryption }: TwoStepDependencies,
  account: Person,
  source: AuditSource,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    if (!(await removeTotp(tx, account.id))) return false;
    await deleteRecoveryCodes(tx, account.id);
    await forgetBrowsers(tx, account.id, { source });
    await record(tx, { event: 'totp.removed', accountId: account.id, source });
    await notifyAccount(tx, encryption, account, 'two-step-off', { source });
    return true;
  });
}

/** New recovery codes in the place of all before; undefined while two-step sign-in is off. */
export function renewRecoveryCodes(
  { db, encryption }: TwoStepDependencies,
  account: Person,
  source: AuditSource,
): Promise<string[] | undefined> {
  return db.transaction(async (tx) => {
    // Two at once wait for each other: else the codes of both would be good.
    if (!(await lockTotp(tx, account.id))) return undefined;
    const codes = await replaceRecoveryCodes(tx, account.id);
    await record(tx, { event: 'recovery-codes.created', accountId: account.id, source });
    await notifyAccount(tx, encryption, account, 'recovery-codes-renewed', { source });
    return codes;
  });
}

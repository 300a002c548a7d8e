/**
 * The codes that people type (RFC 8628 §6.1): eight letters without vowels, read forgivingly and guessed at in vain.
 */
import { errors, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { createAttempts } from '../accounts/attempts.ts';
import type { Database } from '../db/database.ts';
import { markOutage } from './outage.ts';

const codeLength = 8;

/** Characters that no code has, and what somebody who types one most likely saw. */
const lookAlikes: Record<string, string> = { 0: 'Q', O: 'Q', 1: 'L', I: 'L', 2: 'Z', 5: 'S', 6: 'G', 8: 'B', U: 'V' };

/** A code as it is stored, however it was typed: case, dashes, spaces, digits for letters. */
export function readUserCode(typed: string): string {
  const letters = typed.toUpperCase().replace(/[^0-9A-Z]/g, '');
  return letters.replace(/./g, (letter) => lookAlikes[letter] ?? letter);
}

/** A code as the device shows it. */
export function asShown(userCode: string): string {
  return `${userCode.slice(0, 4)}-${userCode.slice(4)}`;
}

/** 429: nothing is judged for a while. */
export class TooManyCodes extends errors.CustomOIDCProviderError {
  readonly retryAfterSeconds: number;

  constructor(retryAfterSeconds: number) {
    super('too_many_requests', 'too many wrong codes');
    this.statusCode = 429;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Every look for a code is a try (SECURITY 51), of the account that is signed in and of the address. */
export function limitUserCodes(provider: Provider, db: Database): void {
  const { DeviceCode } = provider;
  const { findByUserCode } = DeviceCode;
  const attempts = createAttempts(db);
  DeviceCode.findByUserCode = async function findUnlessThrottled(typed, options) {
    const userCode = readUserCode(typed);
    // No guess, but a slip.
    if (userCode.length !== codeLength) return undefined;
    const { ctx } = Provider;
    const who = { account: ctx?.oidc.session?.accountId, address: ctx && addressOf(ctx) };
    const look = () => findByUserCode.call(DeviceCode, userCode, options);
    const judged = await markOutage(attempts.judge('device-code', who, look));
    if (judged.outcome === 'throttled') throw new TooManyCodes(judged.retryAfterSeconds);
    return judged.outcome === 'right' ? judged.value : undefined;
  };
}

/** As Express reads it, which knows the trusted proxies. */
export function addressOf({ req }: Pick<KoaContextWithOIDC, 'req'>): string | undefined {
  return (req as { ip?: string }).ip;
}

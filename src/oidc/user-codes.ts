/**
 * The codes that people type (RFC 8628 §6.1): eight letters without vowels, read forgivingly and guessed at in vain.
 */
import { errors, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Database } from '../db/database.ts';
import { addressKey } from '../http/rate-limit.ts';
import { countHit, uncountHit } from '../http/throttle.ts';
import { markOutage } from './outage.ts';

/** Wrong codes per address, and per account that is signed in, in this many seconds (RFC 8628 §5.1, SECURITY 51). */
const mostWrongCodes = 20;
const windowSeconds = 15 * 60;

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

/**
 * Counts every look for a code before it is made, and takes it back when there is one: of guesses made in parallel no
 * more are answered than one after the other, at whichever instance.
 */
export function limitUserCodes(provider: Provider, db: Database): void {
  const { DeviceCode } = provider;
  const { findByUserCode } = DeviceCode;
  DeviceCode.findByUserCode = async function findUnlessThrottled(typed, options) {
    const userCode = readUserCode(typed);
    // No guess, but a slip.
    if (userCode.length !== codeLength) return undefined;
    const { ctx } = Provider;
    const accountId = ctx?.oidc.session?.accountId;
    const keys = [
      `device-code:address:${addressKey(ctx && addressOf(ctx))}`,
      ...(accountId ? [`device-code:account:${accountId}`] : []),
    ];
    for (const key of keys) await markOutage(countCode(db, key));
    const code = await findByUserCode.call(DeviceCode, userCode, options);
    if (code) await markOutage(Promise.all(keys.map((key) => uncountHit(db, key))));
    return code;
  };
}

async function countCode(db: Database, key: string): Promise<void> {
  const { hits, resetAt } = await countHit(db, key, windowSeconds);
  if (hits <= mostWrongCodes) return;
  throw new TooManyCodes(Math.max(1, Math.ceil((resetAt.getTime() - Date.now()) / 1000)));
}

/** As Express reads it, which knows the trusted proxies. */
export function addressOf({ req }: Pick<KoaContextWithOIDC, 'req'>): string | undefined {
  return (req as { ip?: string }).ip;
}

/** How people sign in, in a few words from closed lists: read from what the audit log says of it. */

const other = 'other';

/** Of sign-ins that succeeded. A `code` is of an authenticator app or a recovery code. */
export const loginMethods = ['password', 'password+code', 'password+passkey', 'passkey', other] as const;
/** Of tries that failed. */
export const failedMethods = ['password', 'totp', 'recovery-code', 'passkey', other] as const;

/** From the `amr` of `login.succeeded` (RFC 8176). */
export function loginMethod({ amr }: Record<string, unknown>): (typeof loginMethods)[number] {
  const shown: readonly unknown[] = Array.isArray(amr) ? amr : [];
  if (!shown.includes('pwd')) return shown.includes('pop') ? 'passkey' : other;
  if (shown.includes('pop')) return 'password+passkey';
  return shown.includes('otp') ? 'password+code' : 'password';
}

/** From the `method` of `login.failed` and `login.throttled`. */
export function failedMethod({ method }: Record<string, unknown>): (typeof failedMethods)[number] {
  return failedMethods.find((known) => known === method) ?? other;
}

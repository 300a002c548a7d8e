/** How the secret of an account's authenticator app is sealed: it opens in no other account's row. */
export function totpPurpose(accountId: string): string {
  return `totp:${accountId}`;
}

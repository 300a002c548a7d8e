/** People for the tests of recipes. */
import { readLink } from '../support/mailbox.ts';
import { registerAccount } from '../support/relying-party.ts';

export type Account = Awaited<ReturnType<typeof registerAccount>>;

/** Somebody who has followed the link in the mail: many products take no other address. */
export async function registerVerifiedAccount(server: { origin: string; issuer: string }): Promise<Account> {
  const account = await registerAccount(server);
  const token = new URL(await readLink(server, account.email)).searchParams.get('token');
  const response = await fetch(`${server.origin}/auth/verify-email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  });
  if (!response.ok) throw new Error(`${account.email} is not verified: ${await response.text()}`);
  return account;
}

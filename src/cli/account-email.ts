import type { Command } from 'commander';
import type { Account } from '../accounts/accounts.ts';
import { emailAddress } from '../accounts/email-address.ts';
import { assignEmail } from '../accounts/email-answers.ts';
import type { Database } from '../db/database.ts';
import { createEncryption } from '../keys/encryption.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { print, printJson } from './output.ts';

export function addChangeEmail(
  accounts: Command,
  { getAccount }: { getAccount: (db: Database, who: string) => Promise<Account> },
): void {
  accounts
    .command('change-email')
    .description('give an account another address, where its person has lost the mailbox of the present one')
    .argument('<who>', 'its e-mail address or its sub')
    .argument('<email>', 'the new one')
    .option('--verified', 'you know that the new address is theirs')
    .option('--json', 'print {"sub", "email", "email_verified"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- accounts change-email ada@example.com ada@moreno.example')
    .action(changeEmail);

  async function changeEmail(who: string, given: string, options: { verified?: true; json?: true }): Promise<void> {
    const { data: email, error } = emailAddress.safeParse(given);
    if (!email) throw new Error(error?.issues[0]?.message ?? 'That is no address.');
    const emailVerified = options.verified ?? false;
    const { id, done } = await withDatabase(async (db, config) => {
      const account = await getAccount(db, who);
      const encryption = createEncryption(config.encryptionKeys);
      const to = { email, emailVerified, source: operator() };
      return { id: account.id, done: await assignEmail(db, encryption, account, to) };
    });
    if (!done) throw new Error(`Another account has ${email}.`);
    if (options.json) return printJson({ sub: id, email, email_verified: emailVerified });
    print(`${id} has the address ${email} now. A mail to the one before says so.`);
  }
}

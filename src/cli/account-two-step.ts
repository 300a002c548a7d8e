import type { Command } from 'commander';
import type { Account } from '../accounts/accounts.ts';
import { turnOffTwoStep } from '../accounts/two-step.ts';
import type { Database } from '../db/database.ts';
import { createEncryption } from '../keys/encryption.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { print, printJson } from './output.ts';

export function addTwoStepOff(
  accounts: Command,
  { getAccount }: { getAccount: (db: Database, who: string) => Promise<Account> },
): void {
  accounts
    .command('two-step-off')
    .description('turn two-step sign-in off, for somebody who has neither phone nor recovery codes any more')
    .argument('<who>', 'its e-mail address or its sub')
    .option('--json', 'print {"sub", "two_step"}')
    .addHelpText(
      'after',
      `
Be sure who asks: the password alone signs in to the account then. Its address gets a mail.

Example:
  npm run latchkey -- accounts two-step-off ada@example.com`,
    )
    .action(async (who: string, { json }: { json?: true }) => {
      const { account, done } = await withDatabase(async (db, config) => {
        const account = await getAccount(db, who);
        const encryption = createEncryption(config.encryptionKeys);
        return { account, done: await turnOffTwoStep({ db, encryption }, account, operator()) };
      });
      if (!done) throw new Error(`${account.id} has no two-step sign-in.`);
      if (json) return printJson({ sub: account.id, two_step: false });
      print(`The password alone signs in to ${account.id} now. A mail says so.`);
    });
}

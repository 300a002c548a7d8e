import type { Command } from 'commander';
import type { Account } from '../accounts/accounts.ts';
import { withdrawAdministrator } from '../accounts/administrators.ts';
import type { Database } from '../db/database.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { print, printJson } from './output.ts';

export function addAdminOff(
  accounts: Command,
  { getAccount }: { getAccount: (db: Database, who: string) => Promise<Account> },
): void {
  accounts
    .command('admin-off')
    .description('take the mark of an administrator from an account; `create-admin` gives it')
    .argument('<who>', 'its e-mail address or its sub')
    .option('--json', 'print {"sub", "administrator"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- accounts admin-off ada@example.com')
    .action(async (who: string, { json }: { json?: true }) => {
      const { id, done } = await withDatabase(async (db) => {
        const { id } = await getAccount(db, who);
        return { id, done: await withdrawAdministrator(db, id, operator()) };
      });
      if (!done) throw new Error(`${id} is no administrator.`);
      if (json) return printJson({ sub: id, administrator: false });
      print(`${id} is no administrator any more.`);
    });
}

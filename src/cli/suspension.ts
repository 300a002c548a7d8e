import { type Command, InvalidArgumentError } from 'commander';
import type { Account } from '../accounts/accounts.ts';
import { expirePassword, reinstateAccount, suspendAccount } from '../accounts/suspension.ts';
import type { Database } from '../db/database.ts';
import { endSessionsOf } from '../oidc/session-end.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { print, printJson } from './output.ts';

type GetAccount = (db: Database, who: string) => Promise<Account>;
type Options = { reason?: string; json?: true };

export function addSuspension(accounts: Command, { getAccount }: { getAccount: GetAccount }): void {
  accounts
    .command('suspend')
    .description('keep an account from being used: all its sessions and tokens end now, and nobody signs in to it')
    .argument('<who>', 'its e-mail address or its sub')
    .option('--reason <text>', 'for the audit log', reason)
    .option('--json', 'print {"sub", "suspended", "sessions", "logouts"}')
    .addHelpText(
      'after',
      `
Example:
  npm run latchkey -- accounts suspend ada@example.com --reason "ticket 4711"`,
    )
    .action(suspend);

  accounts
    .command('reinstate')
    .description('end the suspension of an account; its person signs in anew')
    .argument('<who>', 'its e-mail address or its sub')
    .option('--reason <text>', 'for the audit log', reason)
    .option('--json', 'print {"sub", "suspended"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- accounts reinstate ada@example.com')
    .action(reinstate);

  accounts
    .command('expire-password')
    .description('let the next sign-in by password choose another; `sign-out` ends the sessions that there are')
    .argument('<who>', 'its e-mail address or its sub')
    .option('--reason <text>', 'for the audit log', reason)
    .option('--json', 'print {"sub", "password_expired"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- accounts expire-password ada@example.com')
    .action(expire);

  async function suspend(who: string, { reason, json }: Options): Promise<void> {
    const { id, ended } = await withDatabase(async (db) => {
      const { id } = await getAccount(db, who);
      return { id, ended: await suspendAccount(db, endSessionsOf, id, { source: operator(), reason }) };
    });
    if (!ended) throw new Error(`${id} was suspended before.`);
    const { sessions, logouts } = ended;
    if (json) return printJson({ sub: id, suspended: true, sessions, logouts });
    print(`${id} is suspended. Sessions ended: ${sessions}, apps to be told: ${logouts}.`);
  }

  async function reinstate(who: string, { reason, json }: Options): Promise<void> {
    const { id, done } = await withDatabase(async (db) => {
      const { id } = await getAccount(db, who);
      return { id, done: await reinstateAccount(db, id, { source: operator(), reason }) };
    });
    if (!done) throw new Error(`${id} is not suspended.`);
    if (json) return printJson({ sub: id, suspended: false });
    print(`${id} can be used again. Its person signs in anew.`);
  }

  async function expire(who: string, { reason, json }: Options): Promise<void> {
    const { id, done } = await withDatabase(async (db) => {
      const { id } = await getAccount(db, who);
      return { id, done: await expirePassword(db, id, { source: operator(), reason }) };
    });
    if (!done) throw new Error(`${id} has no password.`);
    if (json) return printJson({ sub: id, password_expired: true });
    print(`The next sign-in to ${id} by password has to choose another.`);
  }
}

function reason(text: string): string {
  if (!/^\P{Cc}{1,300}$/u.test(text)) throw new InvalidArgumentError('1 to 300 characters on one line.');
  return text;
}

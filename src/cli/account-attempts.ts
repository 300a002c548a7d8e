import type { Command } from 'commander';
import { type CountedAttempts, clearAttempts } from '../accounts/account-attempts.ts';
import type { Account } from '../accounts/accounts.ts';
import type { AuditSource } from '../audit/events.ts';
import type { Database } from '../db/database.ts';
import { withDatabase } from './database.ts';
import { epochSeconds, print, printJson } from './output.ts';

export type UnthrottleDependencies = {
  /** Throws when there is none. */
  getAccount(db: Database, who: string): Promise<Account>;
  /** Who typed the command. */
  source?(): AuditSource;
};

export function addUnthrottle(accounts: Command, { getAccount, source }: UnthrottleDependencies): void {
  accounts
    .command('unthrottle')
    .description('end the pause after too many wrong passwords or codes, and count from nothing again')
    .argument('<who>', 'its e-mail address or its sub')
    .option('--json', 'print {"sub", "cleared"}: whether anything was counted')
    .addHelpText(
      'after',
      `
Example:
  npm run latchkey -- accounts unthrottle ada@example.com`,
    )
    .action(async (who: string, { json }: { json?: true }) => {
      const { account, cleared } = await withDatabase(async (db) => {
        const account = await getAccount(db, who);
        return { account, cleared: await clearAttempts(db, account, source?.()) };
      });
      if (json) return printJson({ sub: account.id, cleared });
      print(cleared ? `${account.id} starts from nothing again.` : `Nothing was counted for ${account.id}.`);
    });
}

const words: Record<CountedAttempts['kind'], string> = {
  password: 'wrong passwords',
  'second-factor': 'wrong codes',
  passkey: 'wrong passkeys',
  'device-code': 'wrong device codes',
  link: 'wrong links',
  'reset-mail': 'reset mails',
  'verification-mail': 'verification mails',
};

/** A line of `accounts show`: `30 wrong passwords, paused until …`. */
export function attemptInWords({ kind, tries, fromAnywhere, pausedUntil }: CountedAttempts): string {
  const many = tries === 1 ? words[kind].replace(/s$/, '') : words[kind];
  const from = fromAnywhere ? '' : ' from one browser';
  return `${tries} ${many}${from}${pausedUntil ? `, paused until ${pausedUntil.toISOString()}` : ''}`;
}

export function attemptJson({ kind, tries, fromAnywhere, pausedUntil }: CountedAttempts): object {
  return {
    kind,
    tries,
    from: fromAnywhere ? 'anywhere' : 'one-browser',
    paused_until: pausedUntil ? epochSeconds(pausedUntil) : null,
  };
}

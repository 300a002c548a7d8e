import type { Command } from 'commander';
import { listAttempts } from '../accounts/account-attempts.ts';
import { type Account, findAccount, findAccountByEmail, listAccounts } from '../accounts/accounts.ts';
import { accountClaims } from '../accounts/claims.ts';
import type { Database } from '../db/database.ts';
import { signOutEverywhere } from '../oidc/session-end.ts';
import { addUnthrottle, attemptInWords, attemptJson } from './account-attempts.ts';
import { addChangeEmail } from './account-email.ts';
import { addImport } from './account-import.ts';
import { addTwoStepOff } from './account-two-step.ts';
import { addAdminOff } from './administrators.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { count, epochSeconds, formatDate, formatFields, formatTable, print, printJson } from './output.ts';
import { addSuspension } from './suspension.ts';

export function addAccounts(program: Command): void {
  const accounts = program.command('accounts').description('the people who have an account here');

  accounts
    .command('list')
    .description('list accounts, the oldest first')
    .option('--limit <number>', 'how many at most', count, 50)
    .option('--after <sub>', 'continue behind this account')
    .option('--json', 'print an array of claims')
    .addHelpText(
      'after',
      `
Examples:
  npm run latchkey -- accounts list
  npm run latchkey -- accounts list --limit 500 --json`,
    )
    .action(showAccounts);

  accounts
    .command('show')
    .description('show one account')
    .argument('<who>', 'its e-mail address or its sub')
    .option('--json', 'print its claims')
    .addHelpText(
      'after',
      `
Examples:
  npm run latchkey -- accounts show ada@example.com
  npm run latchkey -- accounts show u_2Hc0Xk1m9bQ7 --json`,
    )
    .action(showAccount);

  accounts
    .command('sign-out')
    .description('end every session of an account, and everything that apps hold for it')
    .argument('<who>', 'its e-mail address or its sub')
    .option('--json', 'print {"sub", "sessions", "logouts"}: what ended, and how many apps are told')
    .addHelpText(
      'after',
      `
Example:
  npm run latchkey -- accounts sign-out ada@example.com`,
    )
    .action(signOutAccount);

  addSuspension(accounts, { getAccount });
  addImport(accounts);
  addChangeEmail(accounts, { getAccount });
  addTwoStepOff(accounts, { getAccount });
  addAdminOff(accounts, { getAccount });
  addUnthrottle(accounts, { getAccount, source: operator });
}

async function showAccounts(options: { limit: number; after?: string; json?: true }): Promise<void> {
  const accounts = await withDatabase((db) => listAccounts(db, { limit: options.limit, after: options.after }));
  if (options.json) return printJson(accounts.map(toJson));
  if (accounts.length === 0) {
    return print(options.after ? 'No more accounts.' : 'No accounts yet. People register at /auth/register.');
  }
  const rows = accounts.map((a) => [a.id, a.email, a.name, formatDate(a.createdAt), stateOf(a)]);
  print(formatTable(['sub', 'email', 'name', 'since', 'state'], rows));
  if (accounts.length === options.limit) print(`\nThere may be more: --after ${accounts.at(-1)?.id}`);
}

async function showAccount(who: string, { json }: { json?: true }): Promise<void> {
  const { account, attempts } = await withDatabase(async (db) => {
    const account = await getAccount(db, who);
    return { account, attempts: await listAttempts(db, account) };
  });
  if (json) return printJson({ ...toJson(account), throttles: attempts.map(attemptJson) });
  const { sub, updated_at: _, address, ...claims } = accountClaims(account);
  const { formatted } = (address ?? {}) as { formatted?: string };
  print(
    formatFields({
      sub,
      state: stateOf(account),
      administrator: account.administratorSince ? `since ${formatDate(account.administratorSince)}` : undefined,
      created: account.createdAt.toISOString(),
      changed: account.updatedAt.toISOString(),
      ...Object.fromEntries(Object.entries(claims).map(([name, value]) => [name, String(value)])),
      address: formatted,
      throttles: attempts.map(attemptInWords).join('\n'),
    }),
  );
}

async function signOutAccount(who: string, { json }: { json?: true }): Promise<void> {
  const { account, ended } = await withDatabase(async (db) => {
    const account = await getAccount(db, who);
    return { account, ended: await signOutEverywhere(db, account.id, operator()) };
  });
  const { sessions, logouts } = ended;
  if (json) return printJson({ sub: account.id, sessions, logouts });
  print(`${account.id} is signed out everywhere. Sessions ended: ${sessions}, apps to be told: ${logouts}.`);
}

async function getAccount(db: Database, who: string): Promise<Account> {
  const account = await (who.includes('@') ? findAccountByEmail(db, who) : findAccount(db, who));
  if (!account) throw new Error(`There is no account ${who}.`);
  return account;
}

/** The claims as a relying party would see them, and what only an operator sees. Times are epoch seconds, as there. */
function toJson(account: Account): Record<string, unknown> {
  return {
    ...accountClaims(account),
    created_at: epochSeconds(account.createdAt),
    suspended_at: account.suspendedAt && epochSeconds(account.suspendedAt),
    ...(account.administratorSince && { administrator_since: epochSeconds(account.administratorSince) }),
    ...(account.deletionAt && { deletion_at: epochSeconds(account.deletionAt) }),
  };
}

function stateOf(account: Account): string {
  if (account.suspendedAt) return `suspended ${formatDate(account.suspendedAt)}`;
  if (account.deletionAt) return `to be deleted ${formatDate(account.deletionAt)}`;
  return account.emailVerified ? 'verified' : 'unverified';
}

import type { Command } from 'commander';
import { type Account, findAccountByEmail } from '../accounts/accounts.ts';
import { createAdministrator, grantAdministrator } from '../accounts/administrators.ts';
import { passwordCheckOf } from '../accounts/breached-passwords.ts';
import { emailAddress } from '../accounts/email-address.ts';
import { hashPassword } from '../accounts/password.ts';
import { checkPassword } from '../accounts/password-policy.ts';
import type { Config } from '../config.ts';
import type { Database } from '../db/database.ts';
import { createOutbound } from '../http/outbound.ts';
import { createBcryptPool } from '../lib/bcrypt-pool.ts';
import { withDatabase } from './database.ts';
import { type NewPassword, newPassword } from './new-password.ts';
import { operator } from './operator.ts';
import { formatFields, print, printJson } from './output.ts';

type Options = { name?: string; verified?: true; passwordFile?: string; generate?: true; json?: true };

export function addCreateAdmin(program: Command): void {
  program
    .command('create-admin')
    .description('make an account an administrator, or a new one with that mark')
    .argument('<email>', 'of the account')
    .option('--name <name>', 'of a new account, as people see it; else what stands before the @')
    .option('--verified', 'of a new account: you know that the address is theirs')
    .option('--password-file <file>', 'of a new account: its first line is the password; - reads what is piped in')
    .option('--generate', 'of a new account: make the password here and show it once, without asking for one')
    .option('--json', 'print {"sub", "email", "created", "password"?}')
    .addHelpText(
      'after',
      `
An account that there is keeps its password. For a new one the password is asked for; where nobody can be asked, it is made here and
shown this once. It must pass PASSWORD_CHECK.

An administrator signs in with two steps: whoever has no second factor sets one up at the next sign-in, and no app gets anything
before. That is all the mark does today: there is no administration in the browser yet. \`accounts show\` tells who has it,
\`accounts admin-off\` takes it away.

Examples:
  npm run latchkey -- create-admin ada@example.com --name "Ada Moreno"
  npm run latchkey -- create-admin ada@example.com --password-file ./password --json`,
    )
    .action(createAdmin);
}

async function createAdmin(given: string, options: Options): Promise<void> {
  const { data: email, error } = emailAddress.safeParse(given);
  if (!email) throw new Error(error?.issues[0]?.message ?? 'That is no address.');
  const { account, made } = await withDatabase(async (db, config) => {
    const account = await findAccountByEmail(db, email);
    return account ? promote(db, account, options) : create(db, config, email, options);
  });
  const password = made?.generated ? made.password : undefined;
  if (options.json) {
    const { id: sub, email } = account;
    return printJson({ sub, email, created: made !== undefined, ...(password !== undefined && { password }) });
  }
  print(`${account.email} ${made ? 'has an account now, and is' : 'is'} an administrator.\n`);
  print(formatFields({ sub: account.id, password }));
  print('\nThe next sign-in asks for a second step, and sets one up where there is none.');
  if (password !== undefined) print('The password is never shown again.');
}

type Outcome = { account: Account; made?: NewPassword };

async function promote(db: Database, account: Account, { passwordFile, generate }: Options): Promise<Outcome> {
  if (passwordFile !== undefined || generate) {
    throw new Error(`${account.email} has an account already and keeps its password: leave out the options about it.`);
  }
  if (await grantAdministrator(db, account.id, operator())) return { account };
  if (account.administratorSince) throw new Error(`${account.email} was an administrator before.`);
  throw new Error(`${account.email} is suspended or about to be deleted.`);
}

async function create(db: Database, config: Config, email: string, options: Options): Promise<Outcome> {
  const name = options.name?.trim() || email.slice(0, email.lastIndexOf('@'));
  const made = await newPassword({
    ...(options.passwordFile !== undefined && { file: options.passwordFile }),
    ...(options.generate && { generate: true }),
  });
  const { password } = made;
  const bcrypt = createBcryptPool({ rounds: config.bcryptRounds });
  const outbound = createOutbound({ allow: config.outboundAllow });
  try {
    const check = passwordCheckOf(config, outbound.fetch, { warn: () => {} });
    const wrong = await checkPassword(password, check, { email, name });
    if (wrong) throw new Error(wrong);
    const person = {
      email,
      name,
      emailVerified: options.verified ?? false,
      passwordHash: await hashPassword(bcrypt, password),
    };
    const account = await createAdministrator(db, person, operator());
    if (!account) throw new Error(`Somebody registered ${email} just now: run the command again.`);
    return { account, made };
  } finally {
    await bcrypt.close();
    await outbound.close();
  }
}

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { databaseUrl } from '../config/values.ts';
import { type Config, encryptionKeyText } from '../config.ts';
import { createEncryption } from '../keys/encryption.ts';
import { cancelPromotion, type Promoted, promote } from '../ops/promote.ts';
import { confirm } from './confirm.ts';
import { withDatabaseUrl } from './database.ts';
import { operator } from './operator.ts';
import { formatFields, print, printJson } from './output.ts';
import { withRowProgress } from './row-progress.ts';

type Options = { to: string; envFile?: string; cancel?: true; yes?: true; json?: true };

export function addPromote(program: Command): void {
  program
    .command('promote')
    .description('move the installation to another PostgreSQL, with its ids, keys and sessions')
    .requiredOption('--to <DATABASE_URL>', 'an empty database: postgres://user:password@host:port/database', address)
    .option('--env-file <file>', 'where to write what the server needs from then on; else DATA_DIR/promoted.env')
    .option('--cancel', 'call off a move that was interrupted: the installation stays where it is')
    .option('--yes', 'do not ask')
    .option('--json', 'print {"to", "copy", "rows", "tables", "signing_keys", "env_file"}, or {"cancelled"}')
    .addHelpText(
      'after',
      `
A running server may go on: from the first moment it answers 503 to whatever would change something, and reads on. Everything it had
acknowledged is copied and compared row by row. Then stop it, and start it with the variables of the file. The old
database refuses every change from then on, and a server started on it says where the installation is now.

Interrupted, run it again. It goes on where that is right, and says so when all was done. When the copy fails, all is as before.

A password in a command is seen by others on the machine and kept in the shell's history: PGPASSWORD and ~/.pgpass work too.

Examples:
  npm run latchkey -- promote --to postgres://latchkey@db.example.com/latchkey
  npm run latchkey -- promote --to postgres://latchkey@db.example.com/latchkey --yes --json
  npm run latchkey -- promote --to postgres://latchkey@db.example.com/latchkey --cancel`,
    )
    .action(run);
}

function address(text: string): string {
  const { data, error } = databaseUrl().safeParse(text);
  if (data === undefined) throw new InvalidArgumentError(`Expected ${error?.issues[0]?.message}.`);
  return data;
}

async function run({ to, cancel, yes, json, envFile }: Options): Promise<void> {
  await withDatabaseUrl(async (from, config) => {
    if (cancel) {
      await cancelPromotion({ from, to }, operator());
      return json ? printJson({ cancelled: true }) : print('The installation stays where it is.');
    }
    const file = resolve(envFile ?? join(config.dataDir, 'promoted.env'));
    const lines = environmentOf(to, config);
    await requireFree(file, lines);
    if (
      !yes &&
      !(await confirm('A running server refuses every change from now on, until it is started again. Go on?'))
    )
      return;
    const encryption = createEncryption(config.encryptionKeys);
    const promoted = await withRowProgress('Copying', (onRows) =>
      promote({ from, to }, encryption, operator(), onRows),
    );
    await writePrivately(file, lines);
    if (json) printJson(toJson(promoted, file));
    else describe(promoted, file);
  });
}

/** In the form of an `.env` file. */
function environmentOf(to: string, config: Config): string {
  const variables = {
    DATABASE_URL: to,
    OIDC_COOKIE_SECRET: config.cookieSecrets.join(','),
    OIDC_ENCRYPTION_KEY: encryptionKeyText(config.encryptionKeys),
  };
  const quoted = (text: string) => (/^[\w+/=:@.~%?&,-]+$/.test(text) ? text : `'${text}'`);
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${quoted(value)}\n`)
    .join('');
}

/** Nobody's own settings are written over. */
async function requireFree(file: string, lines: string): Promise<void> {
  const there = await readFile(file, 'utf8').catch(() => undefined);
  if (there !== undefined && there !== lines)
    throw new Error(`There is a file ${file} already: name another with --env-file.`);
}

async function writePrivately(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}.part`;
  await writeFile(draft, text, { mode: 0o600, flush: true });
  await rename(draft, file);
}

function describe(promoted: Promoted, file: string): void {
  const done = promoted.copy === 'made' ? 'is copied to' : 'was copied before to';
  print(`The installation ${done} ${promoted.to}, and compared.\n`);
  print(
    formatFields({
      rows: `${promoted.rows} in ${promoted.tables.length} tables`,
      'signing keys': promoted.signingKeys.join('\n'),
    }),
  );
  print(`
Next:
  1. Stop the server.
  2. Take DATABASE_URL, OIDC_COOKIE_SECRET and OIDC_ENCRYPTION_KEY over from ${file}; leave all else as it is.
  3. Start it, on as many machines as you like, each with the same three.
  4. Delete that file, and DATA_DIR once you trust the new database.`);
}

function toJson({ to, copy, rows, tables, signingKeys }: Promoted, file: string): Record<string, unknown> {
  return {
    to,
    copy,
    rows,
    tables: Object.fromEntries(tables.map(({ name, rows }) => [name, rows])),
    signing_keys: signingKeys,
    env_file: file,
  };
}

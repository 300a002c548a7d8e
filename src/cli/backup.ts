import type { Command } from 'commander';
import { type Config, encryptionKeyText, loadEnvironment, readGiven } from '../config.ts';
import { latchkeyVersion } from '../lib/version.ts';
import { type Backup, createBackup, type Secrets, verifyBackup } from '../ops/backup.ts';
import { rowsIn } from '../ops/load.ts';
import {
  type KeyOptions,
  keyFrom,
  type LockOptions,
  lockFrom,
  withKeyOptions,
  withLockOptions,
} from './backup-keys.ts';
import { withMigratedDatabase } from './database.ts';
import { operator } from './operator.ts';
import { formatFields, print, printJson } from './output.ts';
import { withRowProgress } from './row-progress.ts';

type Options = LockOptions & { to: string; withSecrets?: boolean; json?: true };

export function addBackup(program: Command): void {
  const backup = program.command('backup').description('the whole installation in one encrypted file');

  withLockOptions(
    backup.command('create', { isDefault: true }).description('make a backup; servers may go on meanwhile'),
  )
    .requiredOption('--to <file>', 'a new file')
    .option('--with-secrets', 'put OIDC_COOKIE_SECRET and OIDC_ENCRYPTION_KEY in, although the environment gives them')
    .option('--json', `print ${jsonShape}`)
    .addHelpText(
      'after',
      `
The file is age encryption around tar and gzip: \`age --decrypt file | tar xz\` opens it without Latchkey. It is read back before it
gets its name. Secrets that are kept in DATA_DIR are in it; those of the environment are not, unless asked for: keep them
elsewhere, since without OIDC_ENCRYPTION_KEY no backup can be used.

Examples:
  npm run latchkey -- backup create --to latchkey.backup --passphrase-file ./passphrase
  npm run latchkey -- backup --to latchkey.backup --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p`,
    )
    .action(create);

  withKeyOptions(backup.command('verify').description('read a whole backup and compare it with what it says of itself'))
    .argument('<file>')
    .option('--json', `print ${jsonShape}`)
    .addHelpText(
      'after',
      '\nExample:\n  npm run latchkey -- backup verify latchkey.backup --passphrase-file ./passphrase',
    )
    .action(verify);
}

const jsonShape =
  '{"file", "bytes", "sha256", "taken_at", "latchkey", "issuer", "rows", "tables": {name: rows}, "signing_keys", "secrets"}';

async function create({ to, withSecrets = false, json, ...options }: Options): Promise<void> {
  loadEnvironment();
  const lock = await lockFrom(options, readGiven().backupPassphrase);
  const backup = await withMigratedDatabase(({ db, url, config }) => {
    const content = { secrets: secretsOf(config, withSecrets), issuer: config.issuer, latchkey: latchkeyVersion() };
    return withRowProgress('Backing up', (onRows) =>
      createBackup({ db, url }, { path: to, lock, ...content }, operator(), onRows),
    );
  });
  if (json) return printJson(toJson(to, backup));
  print(`${to} is written and was read back.\n`);
  print(describe(backup));
  const { cookie_secret: cookie, encryption_key: key } = backup.manifest.secrets;
  if (!cookie || !key)
    print(
      '\nOIDC_COOKIE_SECRET and OIDC_ENCRYPTION_KEY are not all in it: keep them elsewhere. It cannot be used without.',
    );
}

/** Those that were made here would be lost with the folder; the others are kept by whoever gave them. */
function secretsOf(config: Config, all: boolean): Secrets {
  const given = readGiven();
  return {
    ...((all || !given.cookieSecret) && { cookieSecret: config.cookieSecrets.join(',') }),
    ...((all || !given.encryptionKey) && { encryptionKey: encryptionKeyText(config.encryptionKeys) }),
  };
}

async function verify(file: string, { json, ...options }: KeyOptions & { json?: true }): Promise<void> {
  loadEnvironment();
  const key = await keyFrom(options, readGiven().backupPassphrase);
  const backup = await withRowProgress('Reading', (onRows) => verifyBackup(file, key, onRows));
  if (json) return printJson(toJson(file, backup));
  print(`${file} is whole.\n`);
  print(describe(backup));
}

function describe({ manifest, summary, bytes, sha256 }: Backup): string {
  return formatFields({
    'taken at': manifest.taken_at,
    issuer: manifest.issuer,
    latchkey: `${manifest.latchkey}, on PostgreSQL ${manifest.postgresql}`,
    rows: `${rowsIn(summary.tables)} in ${summary.tables.length} tables`,
    'signing keys': manifest.signing_keys.join('\n'),
    secrets: Object.keys(manifest.secrets).join(', ') || 'none',
    bytes: String(bytes),
    sha256,
  });
}

function toJson(file: string, { manifest, summary, bytes, sha256 }: Backup): Record<string, unknown> {
  return {
    file,
    bytes,
    sha256,
    taken_at: manifest.taken_at,
    latchkey: manifest.latchkey,
    issuer: manifest.issuer,
    rows: rowsIn(summary.tables),
    tables: Object.fromEntries(summary.tables.map(({ name, rows }) => [name, rows])),
    signing_keys: manifest.signing_keys,
    secrets: Object.keys(manifest.secrets),
  };
}

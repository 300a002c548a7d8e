import type { Command } from 'commander';
import { findSecret } from '../config/generated-secrets.ts';
import { restoreSecrets, type SecretName } from '../config/restored-secrets.ts';
import { type Given, loadEnvironment, parseEncryptionKey, readGiven } from '../config.ts';
import { lockServer } from '../db/embedded.ts';
import { createEncryption } from '../keys/encryption.ts';
import { type Manifest, openBackup } from '../ops/backup-file.ts';
import { type Restored, restoreBackup } from '../ops/restore.ts';
import { type KeyOptions, keyFrom, withKeyOptions } from './backup-keys.ts';
import { confirm } from './confirm.ts';
import { withDatabaseAt } from './database.ts';
import { operator } from './operator.ts';
import { formatFields, print, printJson } from './output.ts';
import { withRowProgress } from './row-progress.ts';

type Options = KeyOptions & { from: string; replace?: true; keepSessions?: true; yes?: true; json?: true };

export function addRestore(program: Command): void {
  withKeyOptions(
    program.command('restore').description('make a backup the installation of an empty database, all or nothing'),
  )
    .requiredOption('--from <file>', 'what backup wrote')
    .option('--replace', 'delete the installation that is in the database now; all servers must be stopped')
    .option('--keep-sessions', 'sessions, tokens and mails too: only if nothing has happened since the backup')
    .option('--yes', 'do not ask')
    .option(
      '--json',
      'print {"taken_at", "latchkey", "rows", "tables", "signing_keys", "migrated", "sessions", "secrets", "audit_intact"}',
    )
    .addHelpText(
      'after',
      `
A backup knows nothing of what came after it: whoever signed out is signed in there, and tokens that were revoked or replaced are good.
So sessions and tokens are left out, and everybody signs in again. For a move, with the server stopped since the backup, --keep-sessions.

Examples:
  npm run latchkey -- restore --from latchkey.backup --passphrase-file ./passphrase
  npm run latchkey -- restore --from latchkey.backup --identity key.txt --replace --yes --json`,
    )
    .action(restore);
}

async function restore({ from, yes, json, ...options }: Options): Promise<void> {
  loadEnvironment();
  const given = readGiven();
  const { replace = false, keepSessions = false } = options;
  const backup = await openBackup(from, await keyFrom(options, given.backupPassphrase));
  try {
    const { manifest } = backup;
    if (replace && !yes && !(await confirm(question(given, manifest)))) return;
    const secrets = restoreSecrets(given.dataDir, secretsToPlace(given, manifest));
    const encryption = createEncryption(parseEncryptionKey(encryptionKey(given, manifest)));
    const settings = { replace, keepSessions, encryption, beforeCommit: secrets.before };
    const restored = await withDatabaseAlone(given, (url) =>
      withRowProgress('Restoring', (onRows) =>
        restoreBackup(url, backup, settings, operator(), (rows) => onRows(rows, 0)),
      ),
    );
    secrets.after();
    if (json) printJson(toJson(manifest, restored, keepSessions, secrets.placed));
    else describe(manifest, restored, keepSessions, secrets.placed);
  } finally {
    await backup.close();
  }
}

function question({ databaseUrl, dataDir }: Given, { taken_at }: Manifest): string {
  const where = databaseUrl ? 'the database at DATABASE_URL' : `the database in ${dataDir}`;
  return `Everything in ${where} is deleted for the backup of ${taken_at}. Go on?`;
}

/** What the environment gives is in force whatever is in the folder. */
function secretsToPlace(given: Given, { secrets }: Manifest): Partial<Record<SecretName, string>> {
  return {
    ...(secrets.cookie_secret && !given.cookieSecret && { 'cookie-secret': secrets.cookie_secret }),
    ...(secrets.encryption_key && !given.encryptionKey && { 'encryption-key': secrets.encryption_key }),
  };
}

function encryptionKey(given: Given, { secrets }: Manifest): string {
  const key = given.encryptionKey ?? secrets.encryption_key ?? findSecret(given.dataDir, 'encryption-key');
  if (!key) throw new Error('The backup was made without OIDC_ENCRYPTION_KEY: set it to what it was there.');
  return key;
}

/** No server may start on the embedded database meanwhile; of another one PostgreSQL tells who is there. */
function withDatabaseAlone<T>(given: Given, work: (url: string) => Promise<T>): Promise<T> {
  return withDatabaseAt(given, async (url) => {
    if (given.databaseUrl) return work(url);
    const lock = await lockServer(url);
    if (!lock) throw new Error(`A Latchkey server is running on ${given.dataDir}: stop it first.`);
    return work(url).finally(() => lock.release());
  });
}

function describe(manifest: Manifest, restored: Restored, kept: boolean, placed: readonly SecretName[]): void {
  print(`The backup of ${manifest.taken_at} is restored and compared row by row.\n`);
  print(
    formatFields({
      rows: `${restored.rows} in ${restored.tables.length} tables`,
      'signing keys': restored.signingKeys.join('\n'),
      sessions: kept ? 'as they were at the backup' : 'ended: everybody signs in again',
      migrations: restored.migrated > 0 ? `${restored.migrated} newer than the backup` : undefined,
      secrets: placed.length > 0 ? `${placed.join(', ')}: put into DATA_DIR` : undefined,
      'audit log': restored.audit.broken ? `BROKEN (${restored.audit.broken.reason}): run audit verify` : 'verified',
    }),
  );
}

function toJson(manifest: Manifest, restored: Restored, kept: boolean, placed: readonly SecretName[]) {
  return {
    taken_at: manifest.taken_at,
    latchkey: manifest.latchkey,
    rows: restored.rows,
    tables: Object.fromEntries(restored.tables.map(({ name, rows }) => [name, rows])),
    signing_keys: restored.signingKeys,
    migrated: restored.migrated,
    sessions: kept ? 'kept' : 'ended',
    secrets: placed,
    audit_intact: restored.audit.broken === undefined,
  };
}

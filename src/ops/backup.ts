/**
 * Backups: the whole installation as it is at one moment, while servers run, in one encrypted file that is read back
 * before it counts. What an installation needs besides the database, its two secrets, is in it or named as missing.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import { type CopyTransaction, describeTables, inCopyTransaction, readSequences } from '../db/copy-tables.ts';
import type { Database } from '../db/database.ts';
import { appliedMigrations } from '../db/migrations.ts';
import { RowDigest } from '../db/row-digest.ts';
import { signingKeys } from '../db/schema.ts';
import { randomToken } from '../lib/random.ts';
import {
  BackupError,
  type Content,
  createPrivateFile,
  type Key,
  type Lock,
  type Manifest,
  openBackup,
  type Summary,
  writeBackup,
} from './backup-file.ts';
import { type OnRows, requireSame, rowsIn } from './load.ts';

export type Secrets = { cookieSecret?: string | undefined; encryptionKey?: string | undefined };

export type Backup = { manifest: Manifest; summary: Summary; bytes: number; sha256: string };

/**
 * Writes a backup of the database at `url` to the new file `path`, and reads it back. The file has its name only once it is
 * whole and good, on the disk and open to its owner alone.
 * @param secrets what to put in beside the tables
 * @throws {BackupError} when there is such a file already, or reading back finds something
 */
export async function createBackup(
  { db, url }: { db: Database; url: string },
  { path, lock, ...of }: { path: string; lock: Lock; secrets: Secrets; issuer: string; latchkey: string },
  source: AuditSource,
  onRows: OnRows = () => {},
): Promise<Backup> {
  if (await stat(path).catch(() => undefined)) throw new BackupError(`There is a file ${path} already.`);
  const draft = `${path}.${randomToken().slice(0, 8)}.part`;
  const file = await createPrivateFile(draft);
  try {
    const key = await inCopyTransaction(url, 'snapshot', async (tx) =>
      writeBackup(file, lock, await contentOf(tx, of, onRows)),
    ).finally(() => file.close());
    const backup = await verifyBackup(draft, key);
    const details = { file: basename(path), bytes: backup.bytes, sha256: backup.sha256 };
    await record(db, { event: 'backup.created', source, details: { ...details, ...namesOf(of.secrets) } });
    await rename(draft, path);
    await flushFolder(dirname(resolve(path)));
    return backup;
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

const namesOf = ({ cookieSecret, encryptionKey }: Secrets) => ({
  secrets: [...(cookieSecret ? ['cookie-secret'] : []), ...(encryptionKey ? ['encryption-key'] : [])],
});

/** All from one snapshot: what is written meanwhile is in no table of it. */
async function contentOf(
  tx: CopyTransaction,
  { secrets, issuer, latchkey }: { secrets: Secrets; issuer: string; latchkey: string },
  onRows: OnRows,
): Promise<Content> {
  const { db } = tx;
  const tables = await describeTables(db);
  const estimated = tables.reduce((sum, { estimatedRows }) => sum + estimatedRows, 0);
  const counts: Summary['tables'] = [];
  let before = 0;
  return {
    manifest: {
      format: 1,
      latchkey,
      postgresql: await serverVersion(db),
      taken_at: new Date().toISOString(),
      issuer,
      migrations: (await appliedMigrations(db)).sort((a, b) => a - b),
      signing_keys: (await db.select({ kid: signingKeys.kid }).from(signingKeys)).map(({ kid }) => kid).sort(),
      secrets: {
        ...(secrets.cookieSecret && { cookie_secret: secrets.cookieSecret }),
        ...(secrets.encryptionKey && { encryption_key: secrets.encryptionKey }),
      },
      tables: tables.map(({ name, columns }) => ({ name, columns })),
    },
    async *rows(name) {
      const table = tables.find((one) => one.name === name);
      if (!table) return;
      const digest = new RowDigest();
      for await (const chunk of digest.through(tx.read(table))) {
        yield chunk;
        onRows(before + digest.result().rows, estimated);
      }
      before += digest.result().rows;
      counts.push({ name, ...digest.result() });
    },
    // Last: a sequence knows nothing of snapshots, and must not be behind the rows.
    summary: async () => ({ tables: counts, sequences: await readSequences(db, tables) }),
  };
}

async function serverVersion(db: Database): Promise<string> {
  const { rows } = await db.execute<{ version: string }>(sql`select current_setting('server_version') as version`);
  return rows[0]?.version ?? '';
}

/**
 * Reads the whole backup at `path` and compares it with what it says of itself.
 * @throws {BackupError}
 */
export async function verifyBackup(path: string, key: Key, onRows: OnRows = () => {}): Promise<Backup> {
  const backup = await openBackup(path, key);
  try {
    const found: Summary['tables'] = [];
    for (const { name } of backup.manifest.tables) {
      const digest = new RowDigest();
      for await (const chunk of backup.rows(name)) digest.update(chunk);
      found.push({ name, ...digest.result() });
      onRows(rowsIn(found), 0);
    }
    const summary = await backup.summary();
    requireSame(found, summary.tables, (name) => `The backup is damaged: its table ${name} is not as it was written.`);
    return { manifest: backup.manifest, summary, ...(await fileFacts(path)) };
  } finally {
    await backup.close();
  }
}

/** What anybody can compare who has the file, with `sha256sum`. */
async function fileFacts(path: string): Promise<{ bytes: number; sha256: string }> {
  const sha256 = createHash('sha256');
  await pipeline(createReadStream(path), sha256);
  return { bytes: (await stat(path)).size, sha256: sha256.digest('hex') };
}

async function flushFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  await handle.sync().finally(() => handle.close());
}

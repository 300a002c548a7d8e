/**
 * Restoring: a backup becomes the installation of an empty database, in one transaction. Every row that was put in is
 * read again and compared before it counts.
 *
 * What the backup knows is old: tokens and sessions that ended since then, and refresh tokens that were replaced, would be
 * good again. So what lives only for a while is left out, unless nothing has happened since.
 */
import { getTableName, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import { type Verification, verifyChain } from '../audit/verify.ts';
import { inCopyTransaction, writeSequences } from '../db/copy-tables.ts';
import { clearDatabase } from '../db/empty-database.ts';
import { allMigrations, applyMigrations, type Migration } from '../db/migrations.ts';
import * as schema from '../db/schema.ts';
import { loadAuditKey } from '../keys/audit-key.ts';
import type { Encryption } from '../keys/encryption.ts';
import { BackupError, type Manifest, type OpenBackup } from './backup-file.ts';
import { countTables, fillTables, matchTables, openKeys, requireSame, rowsIn, type TableCount } from './load.ts';

export type Restored = {
  tables: TableCount[];
  rows: number;
  signingKeys: string[];
  /** Migrations of this version that the backup did not have. */
  migrated: number;
  audit: Verification;
};

/** Whoever holds one of these had it at the time of the backup, which says nothing about now. */
const passing: ReadonlySet<string> = new Set(
  [
    schema.oidcGrants,
    schema.oidcSessions,
    schema.oidcSessionIds,
    schema.oidcInteraction,
    schema.rememberedDevices,
    schema.passkeyChallenges,
    schema.emailTokens,
    // What they say was sent long ago; the links in them are gone.
    schema.mails,
    schema.playgroundRuns,
    schema.leases,
  ].map((table) => getTableName(table)),
);

/**
 * Puts the backup into the database at `url`, all of it or nothing.
 * @param encryption opens the keys of the backup
 * @param beforeCommit the last thing that may fail
 * @throws {BackupError | TransferError | TargetError}
 */
export async function restoreBackup(
  url: string,
  backup: OpenBackup,
  options: { replace: boolean; keepSessions: boolean; encryption: Encryption; beforeCommit?: () => void },
  source: AuditSource,
  onRows: (rows: number) => void = () => {},
): Promise<Restored> {
  const { manifest } = backup;
  const { older, newer } = splitMigrations(manifest);
  return inCopyTransaction(url, 'change', async (tx) => {
    const { db } = tx;
    await clearDatabase(db, options);
    await applyMigrations(db, older);
    const tables = await matchTables(db, manifest.tables);
    const without = options.keepSessions ? new Set<string>() : passing;
    const came = await fillTables(tx, tables, backup.rows, { without, onRows });
    const { tables: written, sequences } = await backup.summary();
    requireSame(came, written, (name) => `The backup is damaged: its table ${name} is not as it was written.`);
    const filled = tables.filter(({ name }) => !without.has(name));
    requireSame(
      await countTables(tx, filled),
      came.filter(({ name }) => !without.has(name)),
      (name) => `The table ${name} is not the same after it was restored.`,
    );
    await writeSequences(db, sequences);
    await applyMigrations(db, newer);
    const signingKeys = await openKeys(db, options.encryption);
    const audit = await verifyChain(db, await loadAuditKey(db, options.encryption));
    const details = { taken_at: manifest.taken_at, sessions: options.keepSessions ? 'kept' : 'ended' };
    await record(db, { event: 'backup.restored', source, details });
    await db.execute(sql`analyze`);
    options.beforeCommit?.();
    const counts = came.filter(({ name }) => !without.has(name));
    return { tables: counts, rows: rowsIn(counts), signingKeys, migrated: newer.length, audit };
  });
}

/** @throws {BackupError} when the backup has migrations that this version does not know */
function splitMigrations({ migrations, latchkey }: Manifest): { older: Migration[]; newer: Migration[] } {
  const known = allMigrations();
  const older = known.filter(({ when }) => migrations.includes(when));
  if (older.length < migrations.length) {
    throw new BackupError(
      `The backup was made by a newer version of Latchkey (${latchkey}): restore it with that one.`,
    );
  }
  return { older, newer: known.filter(({ when }) => !migrations.includes(when)) };
}

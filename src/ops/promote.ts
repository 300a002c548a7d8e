/**
 * Promoting: an installation, and above all one on the embedded database, moves to another database with all its ids, keys,
 * sessions and tokens. First the old database refuses every change, for good; then all is copied in one transaction. So
 * nothing that was acknowledged gets lost, whenever this is killed, and it can be run again until it is done.
 */
import { sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import {
  type CopyTransaction,
  describeTables,
  inCopyTransaction,
  readSequences,
  writeSequences,
} from '../db/copy-tables.ts';
import { isUnavailable, reasonOf } from '../db/database.ts';
import { clearDatabase, holdsInstallation, TargetError } from '../db/empty-database.ts';
import { allMigrations, applyMigrations, migrationState } from '../db/migrations.ts';
import { cancelMove, findMove, finishMove, type Move, sentenceOf, startMove } from '../db/move.ts';
import type { Encryption } from '../keys/encryption.ts';
import {
  countTables,
  fillTables,
  matchTables,
  type OnRows,
  openKeys,
  requireSame,
  rowsIn,
  type TableCount,
  TransferError,
} from './load.ts';

export type Promoted = {
  to: string;
  /** `found`: an earlier run had copied everything already. */
  copy: 'made' | 'found';
  tables: TableCount[];
  rows: number;
  signingKeys: string[];
};

type Addresses = { from: string; to: string };

/**
 * Moves the installation at `from`, whose tables are those of this version, to the database at `to`.
 * @throws {TargetError | TransferError} nothing was copied then, and the installation goes on where it is
 */
export async function promote(
  { from, to }: Addresses,
  encryption: Encryption,
  source: AuditSource,
  onRows: OnRows = () => {},
): Promise<Promoted> {
  const name = nameOf(to);
  const { before, migrations } = await inCopyTransaction(from, 'snapshot', async ({ db }) => ({
    before: await findMove(db),
    migrations: await migrationState(db),
  }));
  if (migrations.pending + migrations.unknown > 0) {
    throw new TransferError(
      'The database here is not as this version makes it: run `npm run latchkey -- migrate` first.',
    );
  }
  if (before && before.to !== name) throw new TransferError(sentenceOf(before));
  if (!before) await requireEmpty(to);
  const event = { event: 'move.started', source, details: { to: name } } as const;
  const move = before ?? (await startMove(from, name, (tx) => record(tx, event)));
  const promoted = await copyAll({ from, to }, move, encryption, onRows).catch(async (error) => {
    if (error instanceof OutcomeUnknown) throw error;
    if (before) throw sayAtTarget(error);
    await cancelMove(from, (tx) => record(tx, { event: 'move.cancelled', source, details: { to: name } }));
    throw sayAtTarget(error);
  });
  if (move.state === 'moving') await finishMove(from, move);
  return { to: name, ...promoted };
}

/** Before anything is refused: most of what can be wrong with the target is wrong from the beginning. */
async function requireEmpty(to: string): Promise<void> {
  try {
    await inCopyTransaction(to, 'change', async ({ db }) => {
      await clearDatabase(db);
      await applyMigrations(db, allMigrations());
      throw new Rehearsed();
    });
  } catch (error) {
    if (!(error instanceof Rehearsed)) throw sayAtTarget(error);
  }
}

class Rehearsed extends Error {}

/** COMMIT was sent and nothing came back. */
class OutcomeUnknown extends TransferError {}

type Copied = Omit<Promoted, 'to'>;

function copyAll({ from, to }: Addresses, move: Move, encryption: Encryption, onRows: OnRows): Promise<Copied> {
  return inCopyTransaction(from, 'snapshot', async (old) => {
    let committing = false;
    try {
      return await inCopyTransaction(to, 'change', async (tx) => {
        const there = await holdsInstallation(tx.db);
        if (move.state === 'moved' && !there) throw new TransferError('Nothing is left there of what was moved.');
        const copied = there ? await compare(old, tx, move) : await copy(old, tx, onRows);
        const signingKeys = await openKeys(tx.db, encryption);
        committing = true;
        return { ...copied, rows: rowsIn(copied.tables), signingKeys };
      });
    } catch (error) {
      if (committing && isUnavailable(error)) {
        throw new OutcomeUnknown(
          `The other database went away at the last moment (${reasonOf(error)}): run promote again.`,
        );
      }
      throw error;
    }
  });
}

async function copy(old: CopyTransaction, tx: CopyTransaction, onRows: OnRows) {
  await clearDatabase(tx.db);
  await applyMigrations(tx.db, allMigrations());
  const shapes = await describeTables(old.db);
  const estimated = shapes.reduce((sum, { estimatedRows }) => sum + estimatedRows, 0);
  const tables = await matchTables(tx.db, shapes);
  const read = (name: string) => old.read(shapes.find((shape) => shape.name === name) ?? missing(name));
  const sent = await fillTables(tx, tables, read, { onRows: (rows) => onRows(rows, estimated) });
  requireSame(
    await countTables(tx, tables),
    sent,
    (name) => `The table ${name} is not the same in the other database.`,
  );
  await writeSequences(tx.db, await readSequences(old.db, shapes));
  await tx.db.execute(sql`analyze`);
  return { copy: 'made', tables: sent } as const;
}

/** An earlier run got as far as this. What is there is all of it, or somebody else's. */
async function compare(old: CopyTransaction, tx: CopyTransaction, move: Move) {
  const tables = await describeTables(tx.db);
  const found = await countTables(tx, tables);
  // Once it is moved, life goes on there.
  if (move.state === 'moving') {
    const expected = await countTables(old, await describeTables(old.db));
    requireSame(
      found,
      expected,
      (name) => `The other database holds another installation (its table ${name} differs).`,
    );
  }
  return { copy: 'found', tables: found } as const;
}

function missing(name: string): never {
  throw new Error(`There is no table ${name}.`);
}

/**
 * Lets the installation at `from` go on where it is.
 * @throws {TransferError} when it does not move, or when there is a copy at `to` that might be in use
 */
export async function cancelPromotion({ from, to }: Addresses, source: AuditSource): Promise<void> {
  const move = await inCopyTransaction(from, 'snapshot', ({ db }) => findMove(db));
  if (!move) throw new TransferError('The installation does not move anywhere.');
  if (nameOf(to) !== move.to) throw new TransferError(sentenceOf(move));
  const copied = await inCopyTransaction(to, 'snapshot', ({ db }) => holdsInstallation(db)).catch((error) => {
    throw sayAtTarget(error);
  });
  if (copied) {
    throw new TransferError(
      `${move.to} holds a copy, and two must never be in use: run promote again to finish, or drop that database first.`,
    );
  }
  await cancelMove(from, (tx) => record(tx, { event: 'move.cancelled', source, details: { to: move.to } }));
}

/** Host, port and database: nothing that must not be shown. */
function nameOf(url: string): string {
  const { hostname, searchParams, port, pathname } = new URL(url);
  const host = hostname || searchParams.get('host') || 'localhost';
  return `${host}:${port || searchParams.get('port') || 5432}${pathname}`;
}

/** Of two databases the other one is to blame; the command line would say it of the configured one. */
function sayAtTarget(error: unknown): Error {
  if (error instanceof TargetError || error instanceof TransferError) return error;
  return new TransferError(`Nothing was moved. The other database says: ${reasonOf(error)}.`, { cause: error });
}

/** What restoring and promoting share: rows that come from elsewhere are put in, read again, and their keys opened. */
import { pipeline } from 'node:stream/promises';
import { sql } from 'drizzle-orm';
import { type CopyTransaction, countRows, describeTables, type TableShape } from '../db/copy-tables.ts';
import type { Database } from '../db/database.ts';
import { type RowCount, RowDigest } from '../db/row-digest.ts';
import { providerSecrets } from '../db/schema.ts';
import { DecryptionError, type Encryption } from '../keys/encryption.ts';
import { keyPurpose, ringKeys } from '../keys/key-ring.ts';
import { providerSecretPurpose } from '../keys/provider-secret.ts';

export type TableCount = { name: string } & RowCount;

/** Told now and then: rows so far, and how many there will be, about. */
export type OnRows = (rows: number, estimated: number) => void;

export type Rows = (table: string) => AsyncIterable<Buffer>;

/** What came is not what was sent, or cannot be used; the message is for the operator. */
export class TransferError extends Error {
  override name = 'TransferError';
}

/**
 * Fills the tables, which are empty, in the order given; those of `without` are read all the same, and not filled.
 * Answers what came.
 */
export async function fillTables(
  tx: CopyTransaction,
  tables: readonly TableShape[],
  rows: Rows,
  { without = new Set(), onRows = () => {} }: { without?: ReadonlySet<string>; onRows?: (rows: number) => void } = {},
): Promise<TableCount[]> {
  const counts: TableCount[] = [];
  let before = 0;
  for (const table of tables) {
    const digest = new RowDigest();
    const counted = async function* () {
      for await (const chunk of digest.through(rows(table.name))) {
        yield chunk;
        onRows(before + digest.result().rows);
      }
    };
    if (without.has(table.name)) for await (const _ of counted());
    else await pipeline(counted(), tx.write(table));
    before += digest.result().rows;
    counts.push({ name: table.name, ...digest.result() });
  }
  return counts;
}

/** Reads the tables as they now are. */
export async function countTables(tx: CopyTransaction, tables: readonly TableShape[]): Promise<TableCount[]> {
  const counts: TableCount[] = [];
  for (const table of tables) counts.push({ name: table.name, ...(await countRows(tx, table)) });
  return counts;
}

/** @throws {TransferError} for the first table in which the two differ */
export function requireSame(
  found: readonly TableCount[],
  expected: readonly TableCount[],
  sentence: (name: string) => string,
): void {
  const names = new Set([...found, ...expected].map(({ name }) => name));
  for (const name of names) {
    const [one, other] = [found, expected].map((tables) => tables.find((table) => table.name === name));
    if (!one || !other || one.rows !== other.rows || one.digest !== other.digest)
      throw new TransferError(sentence(name));
  }
}

export function rowsIn(tables: readonly RowCount[]): number {
  return tables.reduce((sum, { rows }) => sum + rows, 0);
}

/**
 * The tables of these names, each with the columns that are sent, in that order.
 * @throws {TransferError} when the database has other tables, or a table other columns
 */
export async function matchTables(
  db: Database,
  sent: readonly Pick<TableShape, 'name' | 'columns'>[],
): Promise<TableShape[]> {
  const { rows } = await db.execute<{ name: string }>(
    sql`select tablename::text as name from pg_tables where schemaname = current_schema()`,
  );
  const shapes = await describeTables(
    db,
    rows.map(({ name }) => name),
  );
  const same = (one: readonly string[], other: readonly string[]) =>
    one.length === other.length && one.every((name) => other.includes(name));
  const names = sent.map(({ name }) => name);
  if (
    !same(
      names,
      shapes.map(({ name }) => name),
    ) ||
    new Set(names).size < names.length
  ) {
    throw new TransferError('The tables are not those of that version of Latchkey.');
  }
  // Filled in the order in which they are sent.
  return sent.map(({ name, columns }) => {
    const shape = shapes.find((one) => one.name === name);
    if (!shape || !same(columns, shape.columns)) {
      throw new TransferError(`The columns of the table ${name} are not those of that version of Latchkey.`);
    }
    return { ...shape, columns };
  });
}

/**
 * Opens everything that signs or seals for ever. Answers the fingerprints (RFC 7638) of the signing keys.
 * @throws {TransferError} when the encryption key is another
 */
export async function openKeys(db: Database, encryption: Encryption): Promise<string[]> {
  try {
    const keys = await ringKeys(db);
    for (const { kid, state, privateJwkEncrypted: sealed } of keys) {
      if (sealed && (state === 'current' || state === 'next')) encryption.decrypt(sealed, keyPurpose(kid));
    }
    for (const { name, valueEncrypted } of await db.select().from(providerSecrets)) {
      encryption.decrypt(valueEncrypted, providerSecretPurpose(name));
    }
    return keys.map(({ kid }) => kid).sort();
  } catch (error) {
    if (!(error instanceof DecryptionError)) throw error;
    throw new TransferError('The keys in it do not open: OIDC_ENCRYPTION_KEY is not the one they were sealed with.', {
      cause: error,
    });
  }
}

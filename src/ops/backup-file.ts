/**
 * The file of a backup: tar in gzip in age, all of it a stream. `age --decrypt backup.age | tar xz` opens it without
 * Latchkey. First comes manifest.json, then the rows of each table in pieces, last summary.json: a file without it is not whole.
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { Decrypter, Encrypter } from 'age-encryption';
import { z } from 'zod';
import { readTar, type TarEntry, tarEnd, tarEntry } from '../lib/tar.ts';

/** Who can open it: whoever knows the passphrase, or has the identity of one of the recipients (`age1…`). */
export type Lock = { passphrase: string } | { recipients: readonly string[] };
export type Key = { passphrase: string } | { identities: readonly string[] } | { fileKey: Uint8Array };

/** The file is no backup, or not whole, or does not open; the message is for the operator. */
export class BackupError extends Error {
  override name = 'BackupError';
}

const manifestSchema = z.object({
  format: z.literal(1),
  latchkey: z.string(),
  postgresql: z.string(),
  taken_at: z.iso.datetime(),
  issuer: z.string(),
  /** What the database has, by `when` of the journal. */
  migrations: z.array(z.number()),
  /** RFC 7638 thumbprints. */
  signing_keys: z.array(z.string()),
  /** As texts of the environment; what is absent was kept apart. */
  secrets: z.object({ cookie_secret: z.string().optional(), encryption_key: z.string().optional() }),
  /** In the order in which they are filled. */
  tables: z.array(z.object({ name: z.string(), columns: z.array(z.string()) })),
});
export type Manifest = z.infer<typeof manifestSchema>;

const summarySchema = z.object({
  tables: z.array(z.object({ name: z.string(), rows: z.number(), digest: z.string() })),
  sequences: z.array(z.object({ table: z.string(), column: z.string(), lastValue: z.string(), isCalled: z.boolean() })),
});
export type Summary = z.infer<typeof summarySchema>;

const pieceBytes = 1024 * 1024;
const largestPiece = 16 * pieceBytes;

/** What is written: the rows of each table of the manifest in COPY's text format, and at the end what they were. */
export type Content = {
  manifest: Manifest;
  rows: (table: string) => AsyncIterable<Buffer>;
  summary: () => Promise<Summary>;
};

/** Writes to `file`, which is open and empty, and sees to it that it is on the disk. Answers a key for reading it back. */
export async function writeBackup(file: FileHandle, lock: Lock, content: Content): Promise<Key> {
  const { encrypter, key } = await lockWith(lock);
  await pipeline(
    archive(content),
    createGzip(),
    async function* encrypt(plain: AsyncIterable<Buffer>) {
      yield* await encrypter.encrypt(ReadableStream.from(plain));
    },
    async (sealed: AsyncIterable<Uint8Array>) => {
      for await (const chunk of sealed) await file.writeFile(chunk);
    },
  );
  await file.sync();
  return key();
}

async function* archive({ manifest, rows, summary }: Content): AsyncGenerator<Buffer> {
  yield tarEntry('manifest.json', json(manifest));
  for (const { name } of manifest.tables) {
    let number = 0;
    for await (const piece of inPieces(rows(name))) {
      number += 1;
      yield tarEntry(`${folderOf(name)}${String(number).padStart(6, '0')}.copy`, piece);
    }
  }
  yield tarEntry('summary.json', json(await summary()));
  yield tarEnd;
}

const folderOf = (table: string) => `tables/${table}/`;
const json = (value: unknown) => Buffer.from(`${JSON.stringify(value, null, 2)}\n`);

async function* inPieces(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    length += chunk.length;
    if (length < pieceBytes) continue;
    yield Buffer.concat(parts);
    [parts, length] = [[], 0];
  }
  if (length > 0) yield Buffer.concat(parts);
}

export type OpenBackup = {
  manifest: Manifest;
  /** The rows of the manifest's tables, each once and in that order. */
  rows: (table: string) => AsyncGenerator<Buffer>;
  /** After all rows: what they must be. Reads on to the end of the file. */
  summary: () => Promise<Summary>;
  close: () => Promise<void>;
};

/**
 * Opens the backup at `path` and reads its manifest. All that is read is as it was written, but that the file is whole is
 * known only after `summary`. Close it, whatever comes.
 * @throws {BackupError} here and from everything it answers
 */
export async function openBackup(path: string, key: Key): Promise<OpenBackup> {
  const file = createReadStream(path);
  const gunzip = createGunzip();
  const decrypter = unlockWith(key);
  const reading = pipeline(plainOf(file, decrypter), gunzip);
  reading.catch(() => {});
  const entries = readTar(gunzip, largestPiece);
  let ahead: TarEntry | undefined;

  const peek = async (): Promise<TarEntry | undefined> => {
    try {
      ahead ??= (await entries.next()).value ?? undefined;
      return ahead;
    } catch (error) {
      throw asBackupError(error);
    }
  };
  const take = async <T>(name: string, schema: z.ZodType<T>): Promise<T> => {
    const entry = await peek();
    if (entry?.name !== name) throw new BackupError(`The file is not a whole backup: it lacks ${name}.`);
    ahead = undefined;
    return parse(entry.body, schema);
  };
  const close = async () => {
    file.destroy();
    gunzip.destroy();
    await reading.catch(() => {});
  };

  try {
    const manifest = await take('manifest.json', manifestSchema);
    return {
      manifest,
      async *rows(table) {
        for (let entry = await peek(); entry?.name.startsWith(folderOf(table)); entry = await peek()) {
          ahead = undefined;
          yield entry.body;
        }
      },
      async summary() {
        const summary = await take('summary.json', summarySchema);
        if ((await peek()) !== undefined)
          throw new BackupError('The file is not a whole backup: more comes behind its end.');
        // The last seal stands at the end of the file.
        await reading.catch((error) => Promise.reject(asBackupError(error)));
        return summary;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function* plainOf(file: AsyncIterable<Buffer>, decrypter: Decrypter): AsyncGenerator<Uint8Array> {
  let plain: ReadableStream<Uint8Array>;
  try {
    plain = await decrypter.decrypt(ReadableStream.from(file));
  } catch (error) {
    if (isFileError(error)) throw error;
    const { message } = error as Error;
    if (/no identity matched/.test(message)) throw new BackupError(notOpened, { cause: error });
    throw new BackupError(`The file is not a backup, or its beginning is damaged (${message}).`, { cause: error });
  }
  yield* plain;
}

const notOpened =
  'The backup does not open: it was made with another passphrase or for another recipient, or is damaged.';

/** age's seals, gzip and the archive find out different things first. */
function asBackupError(error: unknown): Error {
  if (error instanceof BackupError || isFileError(error)) return error as Error;
  return new BackupError(`The backup is damaged, was changed or is not whole (${(error as Error).message}).`, {
    cause: error,
  });
}

function isFileError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

function parse<T>(body: Buffer, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(body.toString('utf8')));
  } catch (cause) {
    throw new BackupError('The backup is of another kind than this version knows: a newer version made it.', { cause });
  }
}

async function lockWith(lock: Lock): Promise<{ encrypter: Encrypter; key: () => Key }> {
  const encrypter = new Encrypter();
  if ('passphrase' in lock) {
    encrypter.setPassphrase(lock.passphrase);
    return { encrypter, key: () => lock };
  }
  for (const recipient of lock.recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (cause) {
      throw new BackupError('A recipient is age1… as age-keygen prints it.', { cause });
    }
  }
  // For reading back what only the recipients can open: one more recipient, who leaves nothing in the file.
  let fileKey = new Uint8Array();
  encrypter.addRecipient({
    wrapFileKey: (key) => {
      fileKey = Uint8Array.from(key);
      return [];
    },
  });
  return { encrypter, key: () => ({ fileKey }) };
}

function unlockWith(key: Key): Decrypter {
  const decrypter = new Decrypter();
  if ('passphrase' in key) decrypter.addPassphrase(key.passphrase);
  else if ('fileKey' in key) decrypter.addIdentity({ unwrapFileKey: () => key.fileKey });
  else {
    try {
      for (const identity of key.identities) decrypter.addIdentity(identity);
    } catch (cause) {
      throw new BackupError('An identity is AGE-SECRET-KEY-1… as age-keygen writes it.', { cause });
    }
  }
  return decrypter;
}

/** A new file that only its owner can read. */
export function createPrivateFile(path: string): Promise<FileHandle> {
  return open(path, 'wx', 0o600);
}

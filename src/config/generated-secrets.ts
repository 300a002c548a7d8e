import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * The secret kept in `<dataDir>/<name>`: 32 random bytes as base64 text, made by whoever asks first and the same for
 * everybody ever after. The folder is made with mode 0700, the file with 0600.
 *
 * Throws the file system's error when the folder cannot be written or the file not read.
 */
export function generatedSecret(dataDir: string, name: string): string {
  const file = join(dataDir, name);
  return read(file) ?? create(dataDir, file);
}

/** The secret if there is one. Throws the file system's error when the file cannot be read. */
export function findSecret(dataDir: string, name: string): string | undefined {
  return read(join(dataDir, name));
}

/** Puts `text` in the place of the secret, at once and on the disk. Throws the file system's error. */
export function replaceSecret(dataDir: string, name: string, text: string): void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const file = join(dataDir, name);
  const draft = `${file}.${randomBytes(8).toString('hex')}`;
  try {
    writeFileSync(draft, `${text}\n`, { mode: 0o600, flag: 'wx', flush: true });
    renameSync(draft, file);
  } finally {
    rmSync(draft, { force: true });
  }
  if (process.platform !== 'win32') flushFolder(dataDir);
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Complete before it has its name, and a link never replaces: of two processes starting together one wins, both read that. */
function create(dataDir: string, file: string): string {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomBytes(8).toString('hex')}`;
  try {
    writeFileSync(draft, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flag: 'wx', flush: true });
    linkSync(draft, file);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  // Without its name on disk too, a power cut could leave data behind that was encrypted with a key nobody has.
  if (process.platform !== 'win32') flushFolder(dataDir);
  return readFileSync(file, 'utf8').trim();
}

function flushFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/**
 * The folder of the embedded database: PostgreSQL's data with the password to it. Made here, aside and at once; no
 * server process is known here.
 */
import { execFile } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { randomToken } from '../lib/random.ts';
import { EmbeddedError, findPrograms, type Programs, programEnvironment, wayOut } from './embedded-programs.ts';

export type Cluster = {
  /** PostgreSQL's data directory. */
  folder: string;
  password: string;
  programs: Programs;
  /** PostgreSQL's settings by name, for as long as the server runs. */
  settings: Record<string, string>;
};

/**
 * Opens the cluster in `<dataDir>/postgres`, made first when there is none (about a second).
 * @throws {EmbeddedError}
 */
export async function openCluster(dataDir: string, settings: Record<string, string>): Promise<Cluster> {
  const parent = resolve(dataDir);
  const folder = join(parent, 'postgres');
  try {
    await mkdir(parent, { recursive: true, mode: 0o700 });
    if ((await ownerOf(folder)) === undefined) await createCluster(parent, folder);
    const owner = (await ownerOf(folder)) ?? 0;
    const uid = process.geteuid?.() ?? owner;
    if (uid !== 0 && uid !== owner) {
      throw new EmbeddedError(
        `${folder} belongs to user id ${owner} and this is user id ${uid}: run Latchkey as its owner, ` +
          'set DATA_DIR to a folder of your own, or set DATABASE_URL.',
      );
    }
    await access(folder, constants.W_OK);
    return { folder, password: await readPassword(folder), programs: await findPrograms(folder, owner), settings };
  } catch (error) {
    throw error instanceof EmbeddedError ? error : new EmbeddedError(folderProblem(parent, error), { cause: error });
  }
}

/** Beside PostgreSQL's own files, so that one rename brings both into being. */
const passwordFile = 'latchkey-password';

async function readPassword(folder: string): Promise<string> {
  try {
    return await readFile(join(folder, passwordFile), 'utf8');
  } catch (error) {
    const reason = `its file ${passwordFile} cannot be read`;
    throw new EmbeddedError(
      `The folder ${folder} is not a database of Latchkey's (${reason}): move it away, set DATA_DIR to another folder, ` +
        'or set DATABASE_URL.',
      { cause: error },
    );
  }
}

async function ownerOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).uid;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Made aside and renamed: neither a kill halfway nor another process doing the same leaves anything half-made. */
async function createCluster(parent: string, folder: string): Promise<void> {
  await removeAbandoned(parent);
  const workshop = await mkdtemp(`${folder}.new-`);
  try {
    const fresh = join(workshop, 'cluster');
    const passwordPath = join(workshop, passwordFile);
    await writeFile(passwordPath, randomToken(), { mode: 0o600, flush: true });
    const { initdb } = await findPrograms(workshop, process.geteuid?.() ?? 0);
    await run(initdb, [
      ...['-D', fresh, '-U', 'latchkey', '--auth=scram-sha-256', `--pwfile=${passwordPath}`],
      // Sorts by code point and knows the case of every letter, alike on every machine.
      ...['--encoding=UTF8', '--no-locale', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
    ]);
    await rename(passwordPath, join(fresh, passwordFile));
    await rename(fresh, folder);
  } catch (error) {
    // Another process may have been first; then its cluster is ours too.
    if ((await ownerOf(folder)) === undefined) throw error;
  } finally {
    await rm(workshop, { recursive: true, force: true });
  }
}

/** What a kill during creation left behind. Creation takes seconds; whatever is older than this is nobody's. */
async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith('postgres.new-')) continue;
    const path = join(parent, name);
    if (Date.now() - (await stat(path)).mtimeMs > 600_000) await rm(path, { recursive: true, force: true });
  }
}

async function run([program = '', ...head]: string[], args: string[]): Promise<void> {
  try {
    await promisify(execFile)(program, [...head, ...args], { env: programEnvironment });
  } catch (error) {
    const { message, stderr = '' } = error as Error & { stderr?: string };
    const reason = /(?:FATAL|PANIC|error):.*|unshare:.*|.*No space left on device.*/.exec(stderr)?.[0] ?? message;
    throw new EmbeddedError(`The embedded PostgreSQL cannot create its data (${reason}): ${wayOut}.`, { cause: error });
  }
}

function folderProblem(folder: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const reasons: Record<string, string> = {
    EACCES: 'belongs to somebody else or may not be written by this user',
    EPERM: 'belongs to somebody else or may not be written by this user',
    EROFS: 'is on a read-only file system',
    ENOSPC: 'is on a disk that is full',
    // What a recursive mkdir says of a read-only file system.
    ENOENT: 'cannot be made (is the file system read-only?)',
    ENOTDIR: 'is not a folder',
    EEXIST: 'is not a folder',
  };
  const reason = reasons[code ?? ''] ?? `cannot be used (${message})`;
  return `The data folder ${folder} ${reason}: set DATA_DIR to a folder of your own, or set DATABASE_URL.`;
}

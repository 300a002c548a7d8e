/** Data folders of their own for tests that run an embedded PostgreSQL. */
import { mkdtemp, readdir, rm, stat, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopPostmaster } from '../../src/db/embedded-postmaster.ts';

const prefix = 'latchkey-test-';

/** Linux keeps what is here in memory. A container's often has room for 64 MB only. */
const memory = '/dev/shm';
const roomBytes = 2 * 2 ** 30;

/**
 * A new empty folder, in memory where there is room: a database is 300 files, and ext4 takes a millisecond to make each
 * where others have just been removed. Its name carries this process's id, so that a later run can tell what a killed one
 * left behind.
 */
export async function newDataFolder(): Promise<string> {
  const room = await statfs(memory).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  return mkdtemp(join(room >= roomBytes ? memory : tmpdir(), `${prefix}${process.pid}-`));
}

/** Stops the database in it, whoever started that, and removes the folder. */
export async function removeDataFolder(folder: string): Promise<void> {
  await stopPostmaster({ folder: join(folder, 'postgres') });
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** Does the same to the folders of runs that were killed. */
export async function removeAbandonedDataFolders(): Promise<void> {
  for (const parent of [tmpdir(), memory]) {
    for (const name of await readdir(parent).catch(() => [])) {
      const pid = Number(/^latchkey-test-(\d+)-/.exec(name)?.[1]);
      const path = join(parent, name);
      if (pid > 0 && !isRunning(pid) && (await stat(path)).uid === process.getuid?.()) await removeDataFolder(path);
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

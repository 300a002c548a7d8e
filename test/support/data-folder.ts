/** Data folders of their own for tests that run an embedded PostgreSQL. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopPostmaster } from '../../src/db/embedded-postmaster.ts';

const prefix = 'latchkey-test-';

/** A new empty folder. Its name carries this process's id, so that a later run can tell what a killed one left behind. */
export function newDataFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), `${prefix}${process.pid}-`));
}

/** Stops the database in it, whoever started that, and removes the folder. */
export async function removeDataFolder(folder: string): Promise<void> {
  await stopPostmaster({ folder: join(folder, 'postgres') });
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** Does the same to the folders of runs that were killed. */
export async function removeAbandonedDataFolders(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = Number(/^latchkey-test-(\d+)-/.exec(name)?.[1]);
    const path = join(tmpdir(), name);
    if (pid > 0 && !isRunning(pid) && (await stat(path)).uid === process.getuid?.()) await removeDataFolder(path);
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

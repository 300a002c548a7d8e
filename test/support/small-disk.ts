/**
 * A disk of a few megabytes that a test can fill: a file system in memory, mounted where only one process and its children
 * see it. Root can do that, and on most machines everybody in a user namespace of their own.
 */
import { execFile } from 'node:child_process';
import { open, rm } from 'node:fs/promises';
import { promisify } from 'node:util';

export type SmallDisk = {
  /** The command line's prefix that runs a program with the disk at `folder`. */
  wrapper: string[];
  /** `path`, which is on the disk, as this process reaches it while the program `pid` runs. */
  seenThrough(pid: number, path: string): string;
};

const script = 'mount -t tmpfs -o size="$0",mode=0700 latchkey-test "$1" && shift && exec "$@"';
const namespaces = [
  ['unshare', '--user', '--map-root-user', '--mount'],
  ['unshare', '--mount'],
];

/** Undefined where nobody may mount anything, as in most containers. */
export async function smallDisk(folder: string, size: string): Promise<SmallDisk | undefined> {
  for (const namespace of namespaces) {
    const wrapper = [...namespace, 'sh', '-c', script, size, folder];
    const [program = '', ...args] = [...wrapper, 'true'];
    try {
      await promisify(execFile)(program, args);
      return { wrapper, seenThrough: (pid, path) => `/proc/${pid}/root${path}` };
    } catch {
      // The next one, or none.
    }
  }
  return undefined;
}

/** Writes a file until there is no space left for another page; answers how to give the space back. */
export async function fillDisk(path: string): Promise<() => Promise<void>> {
  const file = await open(path, 'w');
  try {
    for (const size of [1 << 20, 1 << 12]) await writeAll(file, Buffer.alloc(size));
  } finally {
    await file.close();
  }
  return () => rm(path);
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, piece: Buffer): Promise<void> {
  try {
    for (;;) await file.appendFile(piece);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

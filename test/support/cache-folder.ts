import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where big things are unpacked once: beside the packages, or, when somebody else owns those, in a folder of this user's own. */
export async function cacheFolder(): Promise<string> {
  const beside = join(import.meta.dirname, '../../node_modules/.cache/latchkey');
  try {
    await mkdir(beside, { recursive: true });
    const probe = await mkdtemp(join(beside, 'probe-'));
    await rm(probe, { recursive: true });
    return beside;
  } catch {
    const uid = process.getuid?.();
    const own = join(tmpdir(), `latchkey-tests-${uid}`);
    await mkdir(own, { recursive: true, mode: 0o700 });
    if ((await stat(own)).uid !== uid) throw new Error(`${own} belongs to somebody else; remove it.`);
    return own;
  }
}

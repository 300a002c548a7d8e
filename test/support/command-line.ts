import { expect, vi } from 'vitest';
import { run as runCommand } from '../../src/cli/run.ts';

export type Outcome = { code: number | null; stdout: string; stderr: string };

/**
 * A command in this process, with the environment and the folder of a machine of its own, and what it writes kept from
 * the terminal. Fails when it shows a stack.
 */
export async function runCommandLine(
  { env, folder }: { env: Record<string, string>; folder: string },
  words: readonly string[],
): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const keep = (stream: keyof typeof written) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += text;
      return true;
    });
  const spies = [keep('stdout'), keep('stderr')];
  const [environment, directory] = [process.env, process.cwd()];
  process.env = { PATH: environment.PATH, ...env };
  process.chdir(folder);
  try {
    return { code: await runCommand(['node', 'latchkey', ...words]), ...written };
  } finally {
    process.chdir(directory);
    process.env = environment;
    for (const spy of spies) spy.mockRestore();
    expect(written.stderr).not.toMatch(/^ +at /m);
  }
}

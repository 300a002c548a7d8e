/** Code as the recipes print it, made into files that can be run and imported, and the operator's commands beside it. */
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import { runCommandLine } from '../support/command-line.ts';
import { root } from '../support/running.ts';
import { readBlocks } from './pages.ts';

export type Workshop = Awaited<ReturnType<typeof openWorkshop>>;

/** A folder of somebody else's project, which has the packages that this one has. */
export async function openWorkshop() {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-recipe-'));
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  return {
    /** Writes the `ts` block of a page into a file; answers its path. */
    async write(page: string, file: string): Promise<string> {
      const [code = '', ...more] = readBlocks(page, 'ts');
      expect(more, `more than one block of code in ${page}`).toEqual([]);
      await writeFile(join(folder, file), code);
      return join(folder, file);
    },
    /** The same, imported. */
    async load<T>(page: string, file: string): Promise<T> {
      return import(/* @vite-ignore */ pathToFileURL(await this.write(page, file)).href) as Promise<T>;
    },
    close: () => rm(folder, { recursive: true }),
  };
}

/** Runs the operator's commands of a page, against the installation that `env` names. */
export async function operateAsPrinted(
  page: string,
  env: Record<string, string>,
  replacements: Record<string, string> = {},
): Promise<void> {
  const lines = readBlocks(page, 'sh', replacements)
    .join('')
    .replaceAll(/\s*\\\n\s*/g, ' ')
    .split('\n');
  for (const line of lines.filter(Boolean)) {
    const words = [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, ...parts]) => parts.find(Boolean) ?? '');
    expect(words.slice(0, 5).join(' '), page).toBe('npm run --silent latchkey --');
    const { code, stderr } = await runCommandLine({ env, folder: root }, words.slice(5));
    expect(code, stderr).toBe(0);
  }
}

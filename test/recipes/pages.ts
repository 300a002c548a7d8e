/** The pages of docs/recipes/, as the tests read them: what is printed there is what is run. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommandLine } from '../support/command-line.ts';
import { root } from '../support/running.ts';

type Replacements = Record<string, string>;

/** A page's blocks of one language; each text to be replaced must be there, or the page has moved on and the test lies. */
export function readBlocks(page: string, language: string, replacements: Replacements = {}): string[] {
  const text = readFileSync(join(root, 'docs/recipes', page), 'utf8');
  const blocks = [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(([, name, block = '']) =>
    name === language ? [block] : [],
  );
  return Object.entries(replacements).reduce((before, [from, to]) => {
    const after = before.map((block) => block.replaceAll(from, to));
    if (after.join() === before.join()) throw new Error(`docs/recipes/${page} has no "${from}" in ${language}`);
    return after;
  }, blocks);
}

export type Registered = { client_id: string; client_secret?: string; redirect_uris: string[] };

/** Runs the page's registration command, as the operator would, and answers what it registered. */
export async function registerAsPrinted(
  page: string,
  env: Record<string, string>,
  replacements?: Replacements,
): Promise<Registered> {
  const command = readBlocks(page, 'sh', replacements).find((block) => block.includes('clients create'));
  if (!command) throw new Error(`docs/recipes/${page} registers no client`);
  const printed: string[] = command.replaceAll('\\\n', ' ').match(/(?:'[^']*'|"[^"]*"|\S)+/g) ?? [];
  const words = printed.slice(printed.indexOf('--') + 1).map((word) => word.replace(/^(['"])(.*)\1$/s, '$2'));
  const { code, stdout, stderr } = await runCommandLine({ env: { BCRYPT_ROUNDS: '10', ...env }, folder: root }, [
    ...words,
    '--json',
  ]);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Registered;
}

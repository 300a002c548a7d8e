import { readFile } from 'node:fs/promises';
import { styleText } from 'node:util';
import type { Command } from 'commander';
import { type Config, ConfigError, configWarnings, loadEnvironment, readConfig } from '../config.ts';
import { EmbeddedError } from '../db/embedded.ts';
import { examine } from '../doctor/examine.ts';
import { type Finding, problem, type State } from '../doctor/finding.ts';
import { withDatabaseUrl } from './database.ts';
import { print, printJson } from './output.ts';

type Options = { caFile?: string; mailTo?: string; json?: true };

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('look at the whole installation, from outside in, and say what is wrong and how to mend it')
    .option('--mail-to <address>', 'send a mail there, too')
    .option('--ca-file <file>', 'PEM of an authority of your own to trust besides the public ones')
    .option('--json', 'print {"problems", "warnings", "findings": [{"check", "state", "found", "fix"?}]}')
    .addHelpText(
      'after',
      `
Run it where the server runs, with the server's configuration; the server may be up or down. Nothing is changed. Looked at are the
settings, DATA_DIR, the database (version, role, clock, migrations, connections, tables, sweep), keys, mail, and the issuer as clients
reach it: name, certificate, discovery, and what proxies do to host, protocol, address and cookies.

Exit status: 0 without problems (there may be warnings), 1 with problems.

Examples:
  npm run latchkey -- doctor
  npm run latchkey -- doctor --mail-to me@example.com --json`,
    )
    .action(runDoctor);
}

async function runDoctor(options: Options): Promise<void> {
  const findings = await findAll(options);
  const number = (state: State) => findings.filter((each) => each.state === state).length;
  const [problems, warnings] = [number('problem'), number('warning')];
  if (options.json) printJson({ problems, warnings, findings });
  else print(findings.map(describe).join('\n'));
  if (problems > 0) throw new Error(`${problems} ${problems === 1 ? 'problem was' : 'problems were'} found.`);
  if (!options.json) print(`\nNo problems${warnings > 0 ? `, ${warnings} to look at` : ''}.`);
}

async function findAll({ caFile, mailTo }: Options): Promise<Finding[]> {
  const authority = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  let config: Config;
  try {
    loadEnvironment();
    config = readConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((found) =>
      problem('settings', found, `Set ${found.split(':')[0]} as docs/configuration.md says.`),
    );
  }
  try {
    return await withDatabaseUrl((databaseUrl) =>
      examine({ config, warnings: configWarnings(), databaseUrl, authority, mailTo }),
    );
  } catch (error) {
    if (!(error instanceof EmbeddedError)) throw error;
    return [problem('database', error.message, 'Mend that first: all else needs the database.')];
  }
}

const marks = {
  ok: styled('green', 'ok'),
  warning: styled('yellow', 'warning'),
  problem: styled('red', 'PROBLEM'),
} as const;

function styled(colour: 'green' | 'yellow' | 'red', word: string): () => string {
  // Looks at the terminal when it is asked: no colour goes into a file.
  return () => styleText(colour, word.padEnd(7));
}

const markWidth = 'PROBLEM'.length + 2;
const checkWidth = 'database version'.length + 2;

function describe({ check, state, found, fix }: Finding): string {
  const line = `${marks[state]()}  ${check.padEnd(checkWidth)}${found}`;
  return fix === undefined ? line : `${line}\n${' '.repeat(markWidth + checkWidth)}fix: ${fix}`;
}

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { type ImportedLine, importLine } from '../accounts/account-import.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { print, printJson } from './output.ts';
import { createProgress } from './progress.ts';

type Refused = { line: number; reason: string };
type Result = { created: number; existing: number; refused: Refused[] };

/** More are counted and not told one by one. */
const mostTold = 100;

export function addImport(accounts: Command): void {
  accounts
    .command('import')
    .description('bring accounts from another system, with the password hashes that they have there')
    .argument('<file>', 'one JSON object a line; - reads what is piped in')
    .option('--dry-run', 'only tell what would be done')
    .option('--json', 'print {"created", "existing", "refused": [{"line", "reason"}]}')
    .addHelpText(
      'after',
      `
Each line: {"email", "name", "email_verified", "password_hash", and any claim of the profile}. password_hash is bcrypt, argon2,
PBKDF2 or scrypt as Django and PHC strings write them, or the credential object of a Keycloak export. Addresses that have
an account already are left as they are, so the command can be run again.

Examples:
  npm run latchkey -- accounts import people.jsonl --dry-run
  npm run latchkey -- accounts import people.jsonl --json`,
    )
    .action(importAccounts);
}

async function importAccounts(
  file: string,
  { dryRun = false, json }: { dryRun?: boolean; json?: true },
): Promise<void> {
  const result: Result = { created: 0, existing: 0, refused: [] };
  let refused = 0;
  const progress = createProgress('Lines');
  await withDatabase(async (db) => {
    let line = 0;
    for await (const text of linesOf(file)) {
      line += 1;
      if (text.trim() !== '') {
        const imported: ImportedLine = await importLine(db, text, { source: operator(), dryRun });
        if (imported.outcome === 'created') result.created += 1;
        else if (imported.outcome === 'exists') result.existing += 1;
        else {
          refused += 1;
          if (result.refused.length < mostTold) result.refused.push({ line, reason: imported.reason });
        }
      }
      progress.update(line);
    }
  }).finally(() => progress.done());
  if (json) printJson(result);
  else {
    const { created, existing } = result;
    print(`${dryRun ? 'Would be created' : 'Created'}: ${created}, there already: ${existing}, refused: ${refused}.`);
  }
  if (refused === 0) return;
  const told = json ? '' : result.refused.map(({ line, reason }) => ` line ${line}: ${reason};`).join('');
  throw new Error(`${refused} ${refused === 1 ? 'line was' : 'lines were'} refused.${told}`);
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const input = file === '-' ? process.stdin : createReadStream(file, 'utf8');
  // A stream's own error would not reach the loop over its lines.
  const failed = new Promise<never>((_, reject) => input.once('error', reject));
  failed.catch(() => {});
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
  for (;;) {
    const next = await Promise.race([lines.next(), failed]);
    if (next.done) break;
    yield next.value;
  }
}

import type { Command } from 'commander';
import { migrate } from '../db/migrate.ts';
import { withDatabaseUrl } from './database.ts';
import { print, printJson } from './output.ts';

export function addMigrate(program: Command): void {
  program
    .command('migrate')
    .description('apply pending migrations to the database; safe while servers run')
    .option('--json', 'print {"applied": number}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- migrate')
    .action(migrateDatabase);
}

async function migrateDatabase({ json }: { json?: true }): Promise<void> {
  const applied = await withDatabaseUrl((url) => migrate(url));
  if (json) printJson({ applied });
  else print(applied === 0 ? 'Nothing to apply: the database is up to date.' : `Applied: ${applied}.`);
}

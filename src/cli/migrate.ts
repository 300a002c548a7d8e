import { type Command, InvalidArgumentError } from 'commander';
import { openDatabase } from '../db/database.ts';
import { migrate } from '../db/migrate.ts';
import { type MigrationPlan, type PlannedStatement, planMigrations } from '../db/migration-plan.ts';
import { formatBytes } from '../lib/bytes.ts';
import { withDatabaseUrl } from './database.ts';
import { print, printJson } from './output.ts';
import { createProgress } from './progress.ts';

export function addMigrate(program: Command): void {
  const migrate = program
    .command('migrate')
    .description('what a new version changes in the database; without another word `migrate apply`');

  migrate
    .command('plan')
    .description('print what is pending: SQL, locks, what waits for them, and how large the tables are')
    .option('--json', 'print {"pending": [{"name", "statements": […]}], "unknown"}')
    .addHelpText(
      'after',
      `
Nothing is changed. Locks are held until all is applied, since that is one transaction.

Example:
  npm run latchkey -- migrate plan`,
    )
    .action(planMigration);

  migrate
    .command('apply', { isDefault: true })
    .description('apply pending migrations to the database, all or none; safe while servers run')
    .option('--lock-timeout <seconds>', 'how long a statement may wait for a table that is in use', seconds, 5)
    .option('--json', 'print {"applied": number}')
    .addHelpText(
      'after',
      `
A table that is in use for longer is left alone, so that requests do not queue up; all is tried again, ten times.

Examples:
  npm run latchkey -- migrate
  npm run latchkey -- migrate apply --lock-timeout 30`,
    )
    .action(applyMigrations);
}

function seconds(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 3600) throw new InvalidArgumentError('From 1 to 3600.');
  return number;
}

async function applyMigrations({ lockTimeout, json }: { lockTimeout: number; json?: true }): Promise<void> {
  const progress = { line: undefined as ReturnType<typeof createProgress> | undefined };
  const applied = await withDatabaseUrl((url) =>
    migrate(url, {
      lockTimeoutMs: lockTimeout * 1000,
      onProgress(done, total) {
        progress.line ??= createProgress('Migrating', { total });
        progress.line.update(done);
      },
    }),
  ).finally(() => progress.line?.done());
  if (json) printJson({ applied });
  else print(applied === 0 ? 'Nothing to apply: the database is up to date.' : `Applied: ${applied}.`);
}

async function planMigration({ json }: { json?: true }): Promise<void> {
  const plan = await withDatabaseUrl(async (url) => {
    const database = openDatabase(url, { max: 1 });
    return planMigrations(database.db).finally(database.close);
  });
  if (json) return printJson(plan);
  print(describe(plan));
}

function describe({ pending, unknown }: MigrationPlan): string {
  const newer = unknown > 0 ? [`The database has ${unknown} migration(s) of a newer version.`] : [];
  if (pending.length === 0) return [...newer, 'Nothing is pending: the database is up to date.'].join('\n');
  const parts = pending.map(({ name, statements }) =>
    [`-- ${name}`, ...statements.map(describeStatement)].join('\n\n'),
  );
  return [...newer, ...parts].join('\n\n');
}

function describeStatement({ sql, tables, work }: PlannedStatement): string {
  if (tables === undefined) return `-- not known here: read it with care\n${sql}`;
  const how = { none: 'for a moment', scan: 'while it reads all rows', rewrite: 'while it writes all rows anew' }[work];
  const notes = tables.map(({ table, lock, blocks, rows, bytes }) => {
    const size = [rows === undefined ? [] : `about ${rows.toLocaleString('en')} rows`, formatBytes(bytes ?? 0)].flat();
    return `-- ${table} (${size.join(', ')}): ${lock} lock, blocks ${blocks}${blocks === 'nothing' ? '' : ` ${how}`}`;
  });
  return [...(notes.length > 0 ? notes : ['-- no lock that anybody waits for']), sql].join('\n');
}

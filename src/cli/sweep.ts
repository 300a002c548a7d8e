import type { Command } from 'commander';
import { tableNameOf } from '../ops/retention.ts';
import { countSweepable, sweep } from '../ops/sweep.ts';
import { withDatabase } from './database.ts';
import { formatTable, print, printJson } from './output.ts';
import { createProgress } from './progress.ts';

export function addSweep(program: Command): void {
  program
    .command('sweep')
    .description('delete now what is over; servers do so by themselves, every minute')
    .option('--dry-run', 'only count what would be deleted')
    .option('--json', 'print an array of {"table", "what", "rows"}')
    .addHelpText(
      'after',
      `
What is kept for how long is in docs/storage.md.

Examples:
  npm run latchkey -- sweep --dry-run
  npm run latchkey -- sweep --json`,
    )
    .action(sweepNow);
}

type Counted = { table: string; what: string; rows: number };

async function sweepNow({ dryRun, json }: { dryRun?: true; json?: true }): Promise<void> {
  const counted = await withDatabase(async (db): Promise<Counted[]> => {
    const over = await countSweepable(db);
    const facts = over.map(({ retention, rows }) => ({ table: tableNameOf(retention), what: retention.what, rows }));
    if (dryRun) return facts;
    const total = facts.reduce((sum, { rows }) => sum + rows, 0);
    const progress = createProgress('Sweeping', { total });
    let done = 0;
    const onBatch = (deleted: number) => {
      done += deleted;
      progress.update(done);
    };
    const swept = await sweep(db, { onBatch }).finally(() => progress.done());
    return facts.map((fact, index) => ({ ...fact, rows: swept[index]?.deleted ?? 0 }));
  });
  if (json) return printJson(counted);
  const some = counted.filter(({ rows }) => rows > 0);
  if (some.length === 0) return print('Nothing is over.');
  const rows = some.map(({ table, what, rows }) => [table, rows.toLocaleString('en'), what]);
  print(formatTable(['table', dryRun ? 'over' : 'deleted', 'what'], rows));
}

import { CommanderError } from 'commander';
import { ConfigError } from '../config.ts';
import { isUnavailable } from '../db/database.ts';
import { TargetError } from '../db/empty-database.ts';
import { DatabaseError } from '../db/migrate.ts';
import { HttpError } from '../http/errors.ts';
import { BackupError } from '../ops/backup-file.ts';
import { TransferError } from '../ops/load.ts';
import { createProgram } from './program.ts';

const failed = 1;
const notUnderstood = 2;

/** Runs one command and answers the exit status: 0 done, 1 failed, 2 not understood. What failed is on stderr. */
export async function run(argv: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(argv);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : notUnderstood;
    process.stderr.write(`${explain(error)}\n`);
    return failed;
  }
}

/** Their sentence tells which database or file it is about. */
const saysAll = [BackupError, DatabaseError, TargetError, TransferError];

/** One line, or one for each problem of the configuration. */
function explain(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  return `error: ${sentenceOf(error).replaceAll(/\s*\n\s*/g, ' ')}`;
}

function sentenceOf(error: unknown): string {
  if (saysAll.some((type) => error instanceof type)) return (error as Error).message;
  if (isUnavailable(error)) return 'The database does not answer. Check DATABASE_URL, or try again.';
  if (!(error instanceof Error)) return String(error);
  if (error instanceof HttpError && error.issues) {
    return error.issues.map(({ path, message }) => `${path} ${message}`.trim()).join('; ');
  }
  // Drizzle's own sentence repeats the statement with its parameters; PostgreSQL's is the cause.
  return error.message.startsWith('Failed query') ? sentenceOf(error.cause) : error.message;
}

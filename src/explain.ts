import { ConfigError } from './config.ts';
import { isUnavailable, reasonOf } from './db/database.ts';
import { EmbeddedError } from './db/embedded-programs.ts';
import { DatabaseError } from './db/migrate.ts';
import { DecryptionError } from './keys/encryption.ts';
import { StartError } from './ops/start-error.ts';

/** What ended the server, for the operator: one line for what an operator can mend, a stack for what nobody thought of. */
export function explain(error: unknown): string {
  const known = [ConfigError, EmbeddedError, DatabaseError, DecryptionError, StartError];
  if (known.some((type) => error instanceof type)) return (error as Error).message;
  if (isUnavailable(error)) return `The database does not answer any more (${reasonOf(error)}).`;
  return `Latchkey stopped: ${error instanceof Error ? error.stack : String(error)}`;
}

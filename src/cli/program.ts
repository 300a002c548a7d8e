import { Command } from 'commander';
import { addAccounts } from './accounts.ts';
import { addApis } from './apis.ts';
import { addAudit } from './audit.ts';
import { addAuthorizationDetails } from './authorization-details.ts';
import { addBackup } from './backup.ts';
import { addClients } from './clients.ts';
import { addCreateAdmin } from './create-admin.ts';
import { addCreateClient } from './create-client.ts';
import { addDoctor } from './doctor.ts';
import { addKeys } from './keys.ts';
import { addMigrate } from './migrate.ts';
import { addPromote } from './promote.ts';
import { addRegistrationTokens } from './registration-tokens.ts';
import { addRestore } from './restore.ts';
import { addSweep } from './sweep.ts';
import { addTokenExchange } from './token-exchange.ts';

/** All commands. Parsing throws CommanderError instead of ending the process: for help, and for what is not understood. */
export function createProgram(): Command {
  const program = new Command('latchkey')
    .description(
      'Run a Latchkey server from the command line. It uses the database of the configuration in force here.',
    )
    .exitOverride()
    .addHelpText('after', '\nExit status: 0 done, 1 failed, 2 not understood.');
  addCreateAdmin(program);
  addCreateClient(program);
  addDoctor(program);
  addMigrate(program);
  addClients(program);
  addRegistrationTokens(program);
  addAccounts(program);
  addApis(program);
  addTokenExchange(program);
  addAuthorizationDetails(program);
  addKeys(program);
  addAudit(program);
  addSweep(program);
  addBackup(program);
  addRestore(program);
  addPromote(program);
  return program;
}

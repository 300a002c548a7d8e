import { type Command, Option } from 'commander';
import {
  type ExchangeMode,
  type ExchangePermission,
  exchangeModes,
  forbidExchange,
  listExchangePermissions,
  permitExchange,
} from '../apis/token-exchange-permissions.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { formatTable, print, printJson } from './output.ts';

/** `latchkey token-exchange …`: who may turn a token for one API into a token for another (RFC 8693). */
export function addTokenExchange(program: Command): void {
  const exchange = program
    .command('token-exchange')
    .description('who may turn a token for one API into a token for another');

  exchange
    .command('list')
    .description('list what is permitted')
    .option('--client <client_id>', 'to this client only')
    .option('--json', 'print an array of permissions')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- token-exchange list')
    .action(list);

  addPermission(exchange.command('allow').description('permit an exchange to a client'))
    .addHelpText(
      'after',
      `
The client must be confidential, be registered with the grant type urn:ietf:params:oauth:grant-type:token-exchange,
and have access to the API that the new tokens are for (apis allow). Permit it to the service that is called with the
first token, and to nobody else.

Example:
  npm run latchkey -- token-exchange allow c_w4Yc0hBz https://orders.example.com https://stock.example.com \\
    --mode delegation`,
    )
    .action(allow);

  addPermission(exchange.command('forbid').description('take a permission back'))
    .addHelpText(
      'after',
      `
Example:
  npm run latchkey -- token-exchange forbid c_w4Yc0hBz https://orders.example.com https://stock.example.com \\
    --mode delegation`,
    )
    .action(forbid);
}

function addPermission(command: Command): Command {
  return command
    .argument('<client_id>', 'who exchanges')
    .argument('<subject_api>', 'the API that the token it was called with is for')
    .argument('<target_api>', 'the API that the new token is for')
    .addOption(
      new Option(
        '--mode <mode>',
        'impersonation: the new token is as if the subject had got it; delegation: it says who acts',
      )
        .choices(exchangeModes)
        .makeOptionMandatory(),
    )
    .option('--json', 'print the permission');
}

type PermissionOptions = { mode: ExchangeMode; json?: true };

async function list({ client, json }: { client?: string; json?: true }): Promise<void> {
  const permissions = await withDatabase((db) => listExchangePermissions(db, client));
  if (json) return printJson(permissions.map(toJson));
  if (permissions.length === 0)
    return print('No exchange is permitted. See `npm run latchkey -- token-exchange allow --help`.');
  const rows = permissions.map(({ clientId, subjectApi, targetApi, mode }) => [clientId, subjectApi, targetApi, mode]);
  print(formatTable(['client_id', 'subject api', 'target api', 'mode'], rows));
}

async function allow(
  clientId: string,
  subjectApi: string,
  targetApi: string,
  options: PermissionOptions,
): Promise<void> {
  const permission = { clientId, subjectApi, targetApi, mode: options.mode };
  const isNew = await withDatabase((db) => permitExchange(db, permission, operator()));
  if (options.json) printJson(toJson(permission));
  else print(`${inWords(permission)}${isNew ? '' : ', as it might before'}.`);
}

async function forbid(
  clientId: string,
  subjectApi: string,
  targetApi: string,
  options: PermissionOptions,
): Promise<void> {
  const permission = { clientId, subjectApi, targetApi, mode: options.mode };
  const had = await withDatabase((db) => forbidExchange(db, permission, operator()));
  if (!had) throw new Error(`${clientId} has no such permission.`);
  if (options.json) printJson(toJson(permission));
  else print(`${clientId} may no longer exchange tokens for ${subjectApi} into tokens for ${targetApi}.`);
}

function inWords({ clientId, subjectApi, targetApi, mode }: ExchangePermission): string {
  return `${clientId} may exchange tokens for ${subjectApi} into tokens for ${targetApi}, by ${mode}`;
}

function toJson({ clientId, subjectApi, targetApi, mode }: ExchangePermission): Record<string, unknown> {
  return { client_id: clientId, subject_api: subjectApi, target_api: targetApi, mode };
}

import type { Command } from 'commander';
import {
  type AuthorizationDetailsType,
  createAuthorizationDetailsType,
  deleteAuthorizationDetailsType,
  listAuthorizationDetailsTypes,
} from '../apis/authorization-details-types.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { formatTable, print, printJson } from './output.ts';

type CreateOptions = { api: string; title: string; action: string[]; field: string[]; json?: true };

/** `latchkey authorization-details …`: the types of rich authorization requests (RFC 9396). */
export function addAuthorizationDetails(program: Command): void {
  const types = program
    .command('authorization-details')
    .description(
      'what clients may ask for one by one, such as a payment (RFC 9396); running servers follow in seconds',
    );

  types
    .command('create')
    .description('register a type; clients list it in authorization_details_types and ask for it with its API')
    .argument('<type>', 'its name, as in "type" of authorization_details')
    .requiredOption('--api <identifier>', 'the API whose tokens carry it')
    .requiredOption('--title <words>', 'what the consent page says, such as "Make a payment"')
    .option('--action <action>', 'one of the actions it may name; repeatable', collect, [])
    .option('--field <name>', 'a further member it may have; repeatable', collect, [])
    .option('--json', 'print the type as JSON')
    .addHelpText(
      'after',
      `
Example:
  npm run latchkey -- authorization-details create payment --api https://bank.example.com \\
    --title "Make a payment" --action initiate --field amount --field creditor`,
    )
    .action(create);

  types
    .command('list')
    .description('show all types')
    .option('--json', 'print an array of types')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- authorization-details list')
    .action(list);

  types
    .command('delete')
    .description('take a type back; tokens that carry it keep it until they expire')
    .argument('<type>')
    .option('--json', 'print {"deleted": type}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- authorization-details delete payment')
    .action(remove);
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

async function create(type: string, { api, title, action, field, json }: CreateOptions): Promise<void> {
  const created = await withDatabase((db) =>
    createAuthorizationDetailsType(db, { type, apiIdentifier: api, title, actions: action, fields: field }, operator()),
  );
  if (json) printJson(toJson(created));
  else print(`Clients that list ${type} in authorization_details_types may ask for it with ${api}.`);
}

async function list({ json }: { json?: true }): Promise<void> {
  const types = await withDatabase(listAuthorizationDetailsTypes);
  if (json) return printJson(types.map(toJson));
  if (types.length === 0) return print('No types yet. Register one with `authorization-details create --help`.');
  const rows = types.map(({ type, apiIdentifier, title, actions, fields }) => [
    type,
    apiIdentifier,
    title,
    [...actions, ...fields].join(' '),
  ]);
  print(formatTable(['type', 'api', 'title', 'actions and fields'], rows));
}

async function remove(type: string, { json }: { json?: true }): Promise<void> {
  if (!(await withDatabase((db) => deleteAuthorizationDetailsType(db, type, operator())))) {
    throw new Error(`There is no type ${type}.`);
  }
  if (json) printJson({ deleted: type });
  else print(`Requests with ${type} are refused from now on.`);
}

function toJson({ type, apiIdentifier, title, actions, fields }: AuthorizationDetailsType): Record<string, unknown> {
  return { type, api: apiIdentifier, title, actions, fields };
}

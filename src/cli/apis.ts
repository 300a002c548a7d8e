import { type Command, InvalidArgumentError, Option } from 'commander';
import { signingAlgs } from '../apis/api-rules.ts';
import { type Api, createApi, deleteApi, findApi, listApis, updateApi } from '../apis/apis.ts';
import { allowApi, type ClientApi, disallowApi, listClientsOfApi } from '../apis/client-access.ts';
import { confirm } from './confirm.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { epochSeconds, formatFields, formatTable, print, printJson } from './output.ts';

type ApiOptions = {
  name?: string;
  scope?: Record<string, string>;
  tokenFormat?: string;
  signingAlg?: string;
  tokenLifetime?: number;
  anyClient?: boolean;
  json?: true;
};

/** `latchkey apis …`: the services that access tokens are made for, and what each client may do there. */
export function addApis(program: Command): void {
  const apis = program.command('apis').description('the APIs that access tokens are made for');

  apis
    .command('list')
    .description('list APIs')
    .option('--json', 'print an array of APIs')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- apis list')
    .action(showApis);

  apis
    .command('show')
    .description('show one API, and the clients that may use it')
    .argument('<identifier>')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- apis show https://api.example.com')
    .action(showApi);

  addApiOptions(apis.command('create').description('register an API'))
    .argument('<identifier>', 'its absolute URI: the resource of a request (RFC 8707) and the aud of its tokens')
    .addHelpText(
      'after',
      `
Example:
  npm run latchkey -- apis create https://api.example.com --name Invoices \\
    --scope "invoices:read=See your invoices" --scope "invoices:pay=Pay your invoices"`,
    )
    .action(create);

  addApiOptions(apis.command('update').description('change an API; what no option names stays as it is'))
    .argument('<identifier>')
    .option('--no-scopes', 'it has no scopes any more')
    .addHelpText(
      'after',
      `
With --scope, name all scopes: one that is not named goes, from every client that had it too.

Example:
  npm run latchkey -- apis update https://api.example.com --token-lifetime 300`,
    )
    .action(change);

  apis
    .command('delete')
    .description('delete an API; no client gets tokens for it any more')
    .argument('<identifier>')
    .option('--yes', 'do not ask')
    .option('--json', 'print {"deleted": identifier}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- apis delete https://api.example.com --yes')
    .action(remove);

  apis
    .command('allow')
    .description('say what a client may do at an API; this replaces what was said before')
    .argument('<client_id>')
    .argument('<identifier>')
    .option('--scope <scope>', 'a scope that the client may ask for; repeatable', collect)
    .option('--introspect', 'the client is the API’s own side: it may introspect and revoke its tokens')
    .option('--json', 'print {"client_id", "api", "scopes", "may_introspect"}')
    .addHelpText(
      'after',
      `
Examples:
  npm run latchkey -- apis allow c_w4Yc0hBz https://api.example.com --scope invoices:read
  npm run latchkey -- apis allow c_Zk3rT0aa https://api.example.com --introspect`,
    )
    .action(allow);

  apis
    .command('disallow')
    .description('take back all that a client may do at an API')
    .argument('<client_id>')
    .argument('<identifier>')
    .option('--json', 'print {"client_id", "api"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- apis disallow c_w4Yc0hBz https://api.example.com')
    .action(disallow);
}

function addApiOptions(command: Command): Command {
  return command
    .option('--name <name>', 'what people call it')
    .option('--scope <scope=description>', 'a scope, and what it means in words for a person; repeatable', scope)
    .addOption(new Option('--token-format <format>', 'of its access tokens').choices(['jwt', 'opaque']))
    .addOption(new Option('--signing-alg <alg>', 'of tokens in JWT form; ES256 if not said').choices([...signingAlgs]))
    .option('--token-lifetime <seconds>', 'how long a token is good for, 60 to 86400; 600 if not said', seconds)
    .option('--any-client', 'any client may ask people for its scopes, not only those allowed: for MCP servers')
    .option('--no-any-client', 'only clients that are allowed may')
    .option('--json', 'print the API as JSON');
}

function scope(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, name, description] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (name === undefined || description === undefined) {
    throw new InvalidArgumentError('Write it as name=description, like "invoices:read=See your invoices".');
  }
  return { ...before, [name]: description };
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

function seconds(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('From 60 to 86400.');
  return Number(text);
}

async function showApis({ json }: { json?: true }): Promise<void> {
  const apis = await withDatabase(listApis);
  if (json) return printJson(apis.map(toJson));
  if (apis.length === 0) return print('No APIs yet. Create one with `npm run latchkey -- apis create --help`.');
  const rows = apis.map((api) => [
    api.identifier,
    api.name,
    format(api),
    `${api.tokenLifetimeSeconds} s`,
    Object.keys(api.scopes).join(' '),
  ]);
  print(formatTable(['identifier', 'name', 'tokens', 'lifetime', 'scopes'], rows));
}

async function showApi(identifier: string, { json }: { json?: true }): Promise<void> {
  const { api, clients } = await withDatabase(async (db) => ({
    api: existing(await findApi(db, identifier), identifier),
    clients: await listClientsOfApi(db, identifier),
  }));
  if (json) return printJson({ ...toJson(api), clients: clients.map(accessToJson) });
  print(describe(api, clients));
}

async function create(identifier: string, options: ApiOptions): Promise<void> {
  const api = await withDatabase((db) => createApi(db, { identifier, ...definition(options) }, operator()));
  if (options.json) return printJson(toJson(api));
  print(describe(api, []));
}

async function change(identifier: string, options: ApiOptions & { scopes: boolean }, command: Command): Promise<void> {
  const changes = { ...definition(options), ...(!options.scopes && { scopes: {} }) };
  if (Object.keys(changes).length === 0) command.error('error: nothing to change; see --help');
  const { api, clients } = await withDatabase(async (db) => ({
    api: existing(await updateApi(db, identifier, changes, operator()), identifier),
    clients: await listClientsOfApi(db, identifier),
  }));
  if (options.json) return printJson({ ...toJson(api), clients: clients.map(accessToJson) });
  print(describe(api, clients));
}

async function remove(identifier: string, { yes, json }: { yes?: true; json?: true }): Promise<void> {
  await withDatabase(async (db) => {
    const { name } = existing(await findApi(db, identifier), identifier);
    const question = `Delete ${name} (${identifier}) with every client’s access to it?`;
    if (!yes && !(await confirm(question))) throw new Error('Nothing was deleted.');
    await deleteApi(db, identifier, operator());
  });
  if (json) printJson({ deleted: identifier });
  else print(`Deleted ${identifier}.`);
}

async function allow(
  clientId: string,
  identifier: string,
  { scope: scopes = [], introspect = false, json }: { scope?: string[]; introspect?: boolean; json?: true },
): Promise<void> {
  const row = await withDatabase((db) =>
    allowApi(db, clientId, identifier, { scopes, mayIntrospect: introspect }, operator()),
  );
  if (json) return printJson(accessToJson(row));
  print(`${clientId} at ${identifier}: ${accessInWords(row)}.`);
}

async function disallow(clientId: string, identifier: string, { json }: { json?: true }): Promise<void> {
  const had = await withDatabase((db) => disallowApi(db, clientId, identifier, operator()));
  if (!had) throw new Error(`${clientId} may do nothing at ${identifier}.`);
  if (json) printJson({ client_id: clientId, api: identifier });
  else print(`${clientId} may do nothing at ${identifier} any more.`);
}

function definition({ name, scope, tokenFormat, signingAlg, tokenLifetime, anyClient }: ApiOptions): object {
  const named = { name, scopes: scope, tokenFormat, signingAlg, tokenLifetimeSeconds: tokenLifetime, anyClient };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}

function existing<T>(found: T | undefined, identifier: string): T {
  if (found === undefined) throw new Error(`There is no API ${identifier}.`);
  return found;
}

function toJson(api: Api): Record<string, unknown> {
  return {
    identifier: api.identifier,
    name: api.name,
    scopes: api.scopes,
    token_format: api.tokenFormat,
    ...(api.tokenFormat === 'jwt' && { signing_alg: api.signingAlg }),
    token_lifetime: api.tokenLifetimeSeconds,
    any_client: api.anyClient,
    created_at: epochSeconds(api.createdAt),
    updated_at: epochSeconds(api.updatedAt),
  };
}

export function accessToJson({ clientId, apiIdentifier, scopes, mayIntrospect }: ClientApi): Record<string, unknown> {
  return { client_id: clientId, api: apiIdentifier, scopes, may_introspect: mayIntrospect };
}

/** What a client may do at an API, on one line. */
export function accessInWords({ scopes, mayIntrospect }: Pick<ClientApi, 'scopes' | 'mayIntrospect'>): string {
  const tokens = scopes.length > 0 ? `tokens with ${scopes.join(' ')}` : mayIntrospect ? '' : 'tokens without a scope';
  return [tokens, mayIntrospect ? 'introspection' : ''].filter(Boolean).join(', ');
}

function describe(api: Api, clients: ClientApi[]): string {
  return formatFields({
    identifier: api.identifier,
    name: api.name,
    scopes: Object.entries(api.scopes)
      .map(([name, description]) => `${name}  ${description}`)
      .join('\n'),
    tokens: `${format(api)}, good for ${api.tokenLifetimeSeconds} s`,
    'any client': api.anyClient ? 'may ask people for its scopes' : 'no: those below',
    clients: clients.map((row) => `${row.clientId}  ${accessInWords(row)}`).join('\n'),
    created: api.createdAt.toISOString(),
    changed: api.updatedAt.toISOString(),
  });
}

function format({ tokenFormat, signingAlg }: Api): string {
  return tokenFormat === 'jwt' ? `JWT, ${signingAlg}` : 'opaque';
}

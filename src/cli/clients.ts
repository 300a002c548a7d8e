import type { Command } from 'commander';
import { type ClientApi, listAccessOfClient } from '../apis/client-access.ts';
import { setAuthorizationMetadata } from '../clients/authorization-metadata.ts';
import { fullMetadata } from '../clients/client-facts.ts';
import {
  type Client,
  deleteClient,
  findClient,
  listClients,
  registerClient,
  updateClient,
} from '../clients/clients.ts';
import { accessInWords, accessToJson } from './apis.ts';
import { withClientDependencies } from './client-dependencies.ts';
import {
  addMetadataOptions,
  authorizationMetadataFrom,
  type MetadataOptions,
  metadataFrom,
  metadataOver,
} from './client-options.ts';
import { confirm } from './confirm.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { count, epochSeconds, formatDate, formatFields, formatTable, print, printJson } from './output.ts';

export function addClients(program: Command): void {
  const clients = program.command('clients').description('the applications that people sign in to');

  clients
    .command('list')
    .description('list clients, the oldest first')
    .option('--limit <number>', 'how many at most', count, 50)
    .option('--after <client_id>', 'continue behind this client')
    .option('--json', 'print an array of client metadata')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- clients list')
    .action(showClients);

  clients
    .command('show')
    .description('show one client')
    .argument('<client_id>')
    .option('--json', 'print its metadata')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- clients show c_w4Yc0hBz')
    .action(showClient);

  addMetadataOptions(clients.command('create').description('register a client; its secret is printed this once'))
    .addHelpText(
      'after',
      `
Examples:
  npm run latchkey -- clients create --name "Fernwood Library" --redirect-uri https://fernwood.example/callback
  npm run latchkey -- clients create --name Phone --redirect-uri com.example.app:/callback --auth-method none \\
    --metadata '{"application_type":"native"}'
  npm run latchkey -- clients create --name "Living Room TV" --device
  npm run latchkey -- clients create --name Worker --grant client_credentials \\
    --authorization-metadata '{"team":"billing"}' --json`,
    )
    .action(createClient);

  addMetadataOptions(clients.command('update').description('change a client; what no option names stays as it is'))
    .argument('<client_id>')
    .addHelpText(
      'after',
      `
Examples:
  npm run latchkey -- clients update c_w4Yc0hBz --first-party
  npm run latchkey -- clients update c_w4Yc0hBz --redirect-uri https://a.example/cb --redirect-uri https://b.example/cb
  npm run latchkey -- clients update c_w4Yc0hBz --metadata '{"logo_uri":null}'`,
    )
    .action(changeClient);

  clients
    .command('delete')
    .description('delete a client, with all tokens and consents it has')
    .argument('<client_id>')
    .option('--yes', 'do not ask')
    .option('--json', 'print {"deleted": client_id}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- clients delete c_w4Yc0hBz --yes')
    .action(removeClient);
}

async function showClients(options: { limit: number; after?: string; json?: true }): Promise<void> {
  const clients = await withDatabase(async (db) => {
    const after =
      options.after === undefined ? undefined : existing(await findClient(db, options.after), options.after);
    return listClients(db, { limit: options.limit, after });
  });
  if (options.json) return printJson(clients.map(toJson));
  if (clients.length === 0) {
    if (options.after) return print('No more clients.');
    return print('No clients yet. Create one with `npm run latchkey -- clients create --help`.');
  }
  const rows = clients.map((client) => [
    client.clientId,
    nameOf(client),
    client.metadata.token_endpoint_auth_method === 'none' ? 'public' : 'confidential',
    client.firstParty ? 'first-party' : client.registeredBy,
    formatDate(client.createdAt),
  ]);
  print(formatTable(['client_id', 'name', 'type', 'trust', 'since'], rows));
  if (clients.length === options.limit) print(`\nThere may be more: --after ${clients.at(-1)?.clientId}`);
}

async function showClient(clientId: string, { json }: { json?: true }): Promise<void> {
  const { client, apis } = await withDatabase(async (db) => ({
    client: existing(await findClient(db, clientId), clientId),
    apis: await listAccessOfClient(db, clientId),
  }));
  if (json) return printJson({ ...toJson(client), apis: apis.map(accessToJson) });
  print(describe(client, apis));
}

async function createClient(options: MetadataOptions): Promise<void> {
  const metadata = await metadataFrom(options);
  const about = await authorizationMetadataFrom(options);
  const { client, clientSecret, registrationAccessToken } = await withClientDependencies((db, dependencies) =>
    db.transaction(async (tx) => {
      const firstParty = options.firstParty ?? false;
      const trust = { registeredBy: 'operator', firstParty, source: operator() } as const;
      const registered = await registerClient(tx, dependencies, metadata, trust);
      if (about === undefined) return registered;
      const { clientId } = registered.client;
      return {
        ...registered,
        client: existing(await setAuthorizationMetadata(tx, clientId, about, operator()), clientId),
      };
    }),
  );
  if (options.json) {
    const secret = clientSecret === undefined ? {} : { client_secret: clientSecret };
    return printJson({ ...toJson(client), ...secret, registration_access_token: registrationAccessToken });
  }
  print(`Created ${nameOf(client)}.\n`);
  print(
    formatFields({
      client_id: client.clientId,
      client_secret: clientSecret,
      registration_access_token: registrationAccessToken,
    }),
  );
  print('\nKeep what you need of this now: secret and token are never shown again.');
}

async function changeClient(clientId: string, options: MetadataOptions, command: Command): Promise<void> {
  const asked = await metadataFrom(options);
  const about = await authorizationMetadataFrom(options);
  if (Object.keys(asked).length === 0 && options.firstParty === undefined && about === undefined) {
    command.error('error: nothing to change; see --help');
  }
  const { client, clientSecret } = await withClientDependencies(async (db, dependencies) => {
    const current = existing(await findClient(db, clientId), clientId);
    const metadata = { ...metadataOver(current.metadata, asked), client_id: clientId };
    return db.transaction(async (tx) => {
      if (about !== undefined) await setAuthorizationMetadata(tx, clientId, about, operator());
      return existing(
        await updateClient(tx, dependencies, clientId, metadata, { ...options, source: operator() }),
        clientId,
      );
    });
  });
  if (options.json) {
    return printJson({ ...toJson(client), ...(clientSecret !== undefined && { client_secret: clientSecret }) });
  }
  print(describe(client, []));
  if (clientSecret !== undefined) print(`\nIts new secret, shown this once:\n${clientSecret}`);
}

async function removeClient(clientId: string, { yes, json }: { yes?: true; json?: true }): Promise<void> {
  await withDatabase(async (db) => {
    const client = existing(await findClient(db, clientId), clientId);
    if (!yes && !(await confirm(`Delete ${nameOf(client)} (${clientId}) with all its tokens?`))) {
      throw new Error('Nothing was deleted.');
    }
    await deleteClient(db, clientId, operator());
  });
  if (json) printJson({ deleted: clientId });
  else print(`Deleted ${clientId}.`);
}

function existing<T>(found: T | undefined, clientId: string): T {
  if (found === undefined) throw new Error(`There is no client ${clientId}.`);
  return found;
}

function nameOf({ clientId, metadata }: Client): string {
  return typeof metadata.client_name === 'string' ? metadata.client_name : clientId;
}

/** RFC 7591 names, and what only an operator sees. */
function toJson(client: Client): Record<string, unknown> {
  return {
    ...fullMetadata(client),
    first_party: client.firstParty,
    registered_by: client.registeredBy,
    ...(client.authorizationMetadata && { authorization_metadata: client.authorizationMetadata }),
    updated_at: epochSeconds(client.updatedAt),
  };
}

function describe(client: Client, apis: ClientApi[]): string {
  const { clientId, metadata, firstParty, registeredBy, createdAt, updatedAt } = client;
  return formatFields({
    client_id: clientId,
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, asText(value)])),
    'first party': firstParty ? 'yes: people are not asked for consent' : 'no',
    'registered by': registeredBy,
    'authorization metadata': client.authorizationMetadata ? JSON.stringify(client.authorizationMetadata) : undefined,
    apis: apis.map((row) => `${row.apiIdentifier}: ${accessInWords(row)}`).join('\n'),
    created: createdAt.toISOString(),
    changed: updatedAt.toISOString(),
  });
}

function asText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join('\n');
  return JSON.stringify(value);
}

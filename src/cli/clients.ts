import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { fullMetadata } from '../clients/client-facts.ts';
import {
  type Client,
  deleteClient,
  findClient,
  listClients,
  registerClient,
  updateClient,
} from '../clients/clients.ts';
import { withClientDependencies } from './client-dependencies.ts';
import { addMetadataOptions, type MetadataOptions, metadataFrom, metadataOver } from './client-options.ts';
import { withDatabase } from './database.ts';
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
  npm run latchkey -- clients create --name Worker --grant-type client_credentials --json`,
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
  const client = existing(await withDatabase((db) => findClient(db, clientId)), clientId);
  if (json) return printJson(toJson(client));
  print(describe(client));
}

async function createClient(options: MetadataOptions): Promise<void> {
  const metadata = await metadataFrom(options);
  const { client, clientSecret, registrationAccessToken } = await withClientDependencies((db, dependencies) =>
    registerClient(db, dependencies, metadata, { registeredBy: 'operator', firstParty: options.firstParty ?? false }),
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
  if (Object.keys(asked).length === 0 && options.firstParty === undefined) {
    command.error('error: nothing to change; see --help');
  }
  const { client, clientSecret } = await withClientDependencies(async (db, dependencies) => {
    const current = existing(await findClient(db, clientId), clientId);
    const metadata = { ...metadataOver(current.metadata, asked), client_id: clientId };
    return existing(await updateClient(db, dependencies, clientId, metadata, options), clientId);
  });
  if (options.json) {
    return printJson({ ...toJson(client), ...(clientSecret !== undefined && { client_secret: clientSecret }) });
  }
  print(describe(client));
  if (clientSecret !== undefined) print(`\nIts new secret, shown this once:\n${clientSecret}`);
}

async function removeClient(clientId: string, { yes, json }: { yes?: true; json?: true }): Promise<void> {
  await withDatabase(async (db) => {
    const client = existing(await findClient(db, clientId), clientId);
    if (
      !yes &&
      process.stdin.isTTY &&
      !(await confirm(`Delete ${nameOf(client)} (${clientId}) with all its tokens?`))
    ) {
      throw new Error('Nothing was deleted.');
    }
    await deleteClient(db, clientId);
  });
  if (json) printJson({ deleted: clientId });
  else print(`Deleted ${clientId}.`);
}

async function confirm(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${question} [y/N] `).finally(() => terminal.close());
  return /^y(es)?$/i.test(answer.trim());
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
    updated_at: epochSeconds(client.updatedAt),
  };
}

function describe(client: Client): string {
  const { clientId, metadata, firstParty, registeredBy, createdAt, updatedAt } = client;
  return formatFields({
    client_id: clientId,
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, asText(value)])),
    'first party': firstParty ? 'yes: people are not asked for consent' : 'no',
    'registered by': registeredBy,
    created: createdAt.toISOString(),
    changed: updatedAt.toISOString(),
  });
}

function asText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join('\n');
  return JSON.stringify(value);
}

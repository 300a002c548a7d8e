/**
 * What the operator of Latchkey does once: two APIs, three clients, and who may do what. These are the operator's own
 * commands, printed as they run. Started again, nothing is done as long as all of it works.
 */
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { billingApi, ordersApi } from './apis.ts';
import { exchangeToken, findProvider, introspectToken, issuer, Refusal, requestToken } from './provider.ts';
import { sayUnreachable } from './service.ts';

export type Credentials = { client_id: string; client_secret: string };
export type Clients = { shop: Credentials; orders: Credentials; billing: Credentials };

/** Where secrets are kept, mode 0600. In production each service has its own, and no other's, in a secret store. */
const { REGISTRATION_FILE: file = join(import.meta.dirname, '.registration.json') } = process.env;

/** The APIs, with their scopes in words for people. */
export const apis = {
  // Tokens live for two minutes, so that you can watch them being renewed; 600 seconds are the default.
  [ordersApi]: [
    ...['--name', 'Orders', '--token-lifetime', '120'],
    ...['--scope', 'orders:read=See orders', '--scope', 'orders:place=Place orders'],
  ],
  [billingApi]: [
    ...['--name', 'Billing', '--token-lifetime', '120', '--scope', 'prices:read=See prices'],
    ...['--scope', 'charges:read=See charges', '--scope', 'charges:create=Make charges'],
  ],
};

export const clients: Record<keyof Clients, string[]> = {
  // Its tokens say the team, and orders looks at it.
  shop: ['--name', 'Shop', '--grant', 'client_credentials', '--authorization-metadata', '{"team":"storefront"}'],
  orders: [
    ...['--name', 'Orders service', '--grant', 'client_credentials'],
    ...['--grant', 'urn:ietf:params:oauth:grant-type:token-exchange'],
  ],
  billing: ['--name', 'Billing service', '--grant', 'client_credentials'],
};

/** Each may do what it needs, and no more. */
export const permissions = ({ shop, orders, billing }: Clients) => [
  ['apis', 'allow', shop.client_id, ordersApi, '--scope', 'orders:read', '--scope', 'orders:place'],
  ['apis', 'allow', shop.client_id, billingApi, '--scope', 'charges:read'],
  ['apis', 'allow', orders.client_id, billingApi, '--scope', 'prices:read', '--scope', 'charges:create'],
  ['token-exchange', 'allow', orders.client_id, ordersApi, billingApi, '--mode', 'delegation'],
  ['apis', 'allow', billing.client_id, billingApi, '--introspect'],
];

/**
 * Answers the credentials of the three clients, with everything set up.
 * @throws with a sentence for whoever started the example
 */
export async function setUp(): Promise<Clients> {
  // Is there an OpenID Provider, and is that its name? Before anything is changed.
  await findProvider({ client_id: 'nobody', client_secret: 'none' }).catch((error: unknown) => {
    throw new Error(sayUnreachable(error));
  });
  const kept = await readKept();
  const fault = kept ? await faultOf(kept) : unknownClient;
  if (kept && !fault) return kept;

  const listed = JSON.parse(await latchkey(['apis', 'list', '--json'])) as { identifier: string }[];
  const known = listed.map(({ identifier }) => identifier);
  await Promise.all(
    Object.entries(apis).map(([api, words]) =>
      latchkey(['apis', known.includes(api) ? 'update' : 'create', api, ...words]),
    ),
  );
  const made = kept && fault !== unknownClient ? kept : await createClients();
  await Promise.all(permissions(made).map(latchkey));
  // A running server follows its operator within seconds.
  for (const waitMs of [0, 200, 1_000, 3_000]) {
    await setTimeout(waitMs);
    if (!(await faultOf(made))) return made;
  }
  throw new Error(`All commands were done, and yet ${issuer} knows nothing of it: do they use that server's database?`);
}

const unknownClient = 'invalid_client';

/** Asks for each thing that the three will ask for; answers what Latchkey refuses, if anything. */
async function faultOf(clients: Clients): Promise<string | undefined> {
  const shop = await findProvider(clients.shop);
  const orders = await findProvider(clients.orders);
  const billing = await findProvider(clients.billing);
  try {
    const token = await requestToken(shop, { resource: ordersApi, scope: 'orders:read orders:place' });
    await requestToken(shop, { resource: billingApi, scope: 'charges:read' });
    await requestToken(orders, { resource: billingApi, scope: 'prices:read' });
    const wish = { resource: billingApi, scope: 'charges:create' };
    const exchanged = await exchangeToken(orders, token.access_token, wish);
    const { active } = await introspectToken(billing, exchanged.access_token);
    return active ? undefined : 'inactive';
  } catch (error) {
    if (error instanceof Refusal) return error.error;
    throw error;
  }
}

async function createClients(): Promise<Clients> {
  const create = async (name: keyof Clients) => {
    const { client_id, client_secret } = JSON.parse(await latchkey(['clients', 'create', ...clients[name], '--json']));
    return { client_id, client_secret };
  };
  const [shop, orders, billing] = await Promise.all([create('shop'), create('orders'), create('billing')]);
  // Never readable by others, not even for a moment: a new file, with its mode from the beginning.
  await rm(file, { force: true });
  await writeFile(file, JSON.stringify({ issuer, shop, orders, billing }, null, 2), { mode: 0o600, flag: 'wx' });
  return { shop, orders, billing };
}

/** What an earlier start kept, for this issuer. */
async function readKept(): Promise<Clients | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  const kept = text && (JSON.parse(text) as Clients & { issuer: string });
  return kept && kept.issuer === issuer ? kept : undefined;
}

/** Where Latchkey is: its commands work on the database that is configured there. */
const { LATCHKEY_DIR: folder = join(import.meta.dirname, '..', '..') } = process.env;

async function latchkey(words: readonly string[]): Promise<string> {
  const shown = words.map((word) => (/^[\w:./-]+$/.test(word) ? word : `'${word}'`)).join(' ');
  console.log(`$ npm run latchkey -- ${shown}`);
  const command = ['run', '--silent', '--prefix', folder, 'latchkey', '--', ...words];
  try {
    return (await promisify(execFile)('npm', command, { cwd: folder })).stdout;
  } catch (error) {
    const why =
      (error as { stderr?: string }).stderr?.trim() || `is ${folder} the folder of Latchkey? Set LATCHKEY_DIR.`;
    throw new Error(`That command failed: ${why}`);
  }
}

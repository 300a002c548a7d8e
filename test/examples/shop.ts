/** examples/microservices beside a Latchkey: set up by the operator's own words, started as a reader does, and called. */
import { randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { apis, type Clients, type Credentials, clients, permissions } from '../../examples/microservices/setup.ts';
import { post } from '../security/protocol.ts';
import { runCommandLine } from '../support/command-line.ts';
import { startExample } from '../support/example.ts';
import { freePort } from '../support/listen.ts';
import { type Running, root } from '../support/running.ts';

type Latchkey = { issuer: string; env: Record<string, string> };

/** A command of the operator, in this process; answers what it prints. */
export async function operate({ env }: Pick<Latchkey, 'env'>, words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runCommandLine({ env, folder: root }, words);
  if (code !== 0) throw new Error(`${words.join(' ')}: ${stderr}`);
  return stdout;
}

/** What the example's own start does by eleven processes, in this one, which takes a tenth of the time. */
async function setUpShop(latchkey: Latchkey, file: string): Promise<Clients> {
  for (const [api, words] of Object.entries(apis)) await operate(latchkey, ['apis', 'create', api, ...words]);
  const create = async (words: string[]) =>
    JSON.parse(await operate(latchkey, ['clients', 'create', ...words, '--json'])) as Credentials;
  const made = {
    shop: await create(clients.shop),
    orders: await create(clients.orders),
    billing: await create(clients.billing),
  };
  for (const words of permissions(made)) await operate(latchkey, words);
  writeFileSync(file, JSON.stringify({ issuer: latchkey.issuer, ...made }), { mode: 0o600 });
  return made;
}

export async function shopSettings({ issuer }: Pick<Latchkey, 'issuer'>) {
  const [PORT, ORDERS_PORT, BILLING_PORT] = [await freePort(), await freePort(), await freePort()].map(String);
  const REGISTRATION_FILE = join(tmpdir(), `latchkey-microservices-${randomUUID()}.json`);
  // Calls are made when a test says so.
  return { ISSUER: issuer, PORT, ORDERS_PORT, BILLING_PORT, REGISTRATION_FILE, EVERY_SECONDS: '0' } as Record<
    'ISSUER' | 'PORT' | 'ORDERS_PORT' | 'BILLING_PORT' | 'REGISTRATION_FILE' | 'EVERY_SECONDS',
    string
  >;
}

export type Shop = {
  running: Running;
  clients: Clients;
  address: { shop: string; orders: string; billing: string };
  close(): Promise<void>;
};

export async function startShop(latchkey: Latchkey): Promise<Shop> {
  const settings = await shopSettings(latchkey);
  const { PORT, ORDERS_PORT, BILLING_PORT, REGISTRATION_FILE } = settings;
  const made = await setUpShop(latchkey, REGISTRATION_FILE);
  const running = await startExample('microservices', settings);
  const at = (port: string) => `http://localhost:${port}`;
  return {
    running,
    clients: made,
    address: { shop: at(PORT), orders: at(ORDERS_PORT), billing: at(BILLING_PORT) },
    async close() {
      await running.kill9();
      rmSync(REGISTRATION_FILE);
    },
  };
}

/** A client's own token. */
export async function tokenOf(
  latchkey: Pick<Latchkey, 'issuer'>,
  client: Credentials,
  resource: string,
  scope?: string,
): Promise<string> {
  const { status, body } = await post(latchkey, 'token', { grant_type: 'client_credentials', resource, scope }, client);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return String(body.access_token);
}

export type Called = { status: number; challenge: string | null; headers: Headers; body: Record<string, unknown> };

/** One call of a service; with `body` it is a POST of it as JSON. */
export async function callService(url: string, token?: string, body?: unknown): Promise<Called> {
  const response = await fetch(url, {
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const { status, headers } = response;
  return {
    status,
    headers,
    challenge: headers.get('www-authenticate'),
    body: (await response.json()) as Record<string, unknown>,
  };
}

/**
 * The one command: sets up what is missing at Latchkey, then starts the three programs, each in a process of its own
 * and each with its own credentials only. In production an orchestrator does what this file does.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { issuer } from './provider.ts';
import { addressOf, fail } from './service.ts';
import { type Credentials, setUp } from './setup.ts';

const { PORT = '4000', ORDERS_PORT = '4001', BILLING_PORT = '4002' } = process.env;

const { shop, orders, billing } = await setUp().catch((error: Error) => fail(error.message));

const ORDERS_URL = addressOf(ORDERS_PORT);
const BILLING_URL = addressOf(BILLING_PORT);
await start('billing.ts', billing, { PORT: BILLING_PORT });
await start('orders.ts', orders, { PORT: ORDERS_PORT, BILLING_URL });
await start('shop.ts', shop, { PORT, ORDERS_URL, BILLING_URL });

console.log(`
Fernwood Shop is ready.

  Open        ${addressOf(PORT)}/
  Shop        client ${shop.client_id}, calls both services
  Orders      ${ORDERS_URL}, client ${orders.client_id}
  Billing     ${BILLING_URL}, client ${billing.client_id}
  Latchkey    ${issuer}
`);

async function start(program: string, { client_id, client_secret }: Credentials, settings: NodeJS.ProcessEnv) {
  const child = fork(join(import.meta.dirname, program), {
    env: { ...process.env, CLIENT_ID: client_id, CLIENT_SECRET: client_secret, ...settings },
  });
  // One that ends takes all down: half a shop helps nobody. It has said why. The others end when this process does.
  child.once('exit', (code) => process.exit(code ?? 1));
  await once(child, 'message');
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));

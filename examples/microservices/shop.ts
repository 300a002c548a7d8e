/**
 * The shop: a client without people, which calls both services with tokens of its own (RFC 6749 §4.4), one for each.
 * It makes its four calls every ten seconds and shows on a page what came of them, so that you can watch what happens
 * when you rotate keys, take access away, or stop Latchkey.
 */
import { join } from 'node:path';
import type { Request } from 'express';
import { billingApi, ordersApi } from './apis.ts';
import { Problem } from './problems.ts';
import { issuer, Refusal } from './provider.ts';
import { say } from './say.ts';
import { addressOf, connect, createApp, serve } from './service.ts';
import { callWith, type KeptToken, ownToken } from './tokens.ts';

const { ORDERS_URL = addressOf('4001'), BILLING_URL = addressOf('4002'), EVERY_SECONDS = '10' } = process.env;
const provider = await connect();
const forOrders = ownToken(provider, { resource: ordersApi, scope: 'orders:place orders:read' });
const forBilling = ownToken(provider, { resource: billingApi, scope: 'charges:read' });

type Call = { method: string; url: URL; token: KeptToken; body?: string; how: string };
type Outcome = { at: string; call: string; how: string; status: number; label: string; says: string };

const calls: Call[] = [
  {
    ...{ method: 'GET', url: new URL('/prices', ORDERS_URL), token: forOrders },
    how: 'Orders verifies the token itself, and asks billing with its own credentials.',
  },
  {
    ...{ method: 'POST', url: new URL('/orders', ORDERS_URL), token: forOrders },
    body: JSON.stringify({ item: 'tea', quantity: 2 }),
    how: 'Orders exchanges the token for one for billing: the shop is charged, orders acts.',
  },
  {
    ...{ method: 'GET', url: new URL('/charges', BILLING_URL), token: forBilling },
    how: 'Billing verifies the token itself: good until it expires.',
  },
  {
    ...{ method: 'GET', url: new URL('/balance', BILLING_URL), token: forBilling },
    how: 'The same token, but billing asks Latchkey: good until it is taken back.',
  },
];
let outcomes: Outcome[] = [];

/** One order from beginning to end. */
async function placeOrder(): Promise<Outcome[]> {
  const made: Outcome[] = [];
  for (const call of calls) made.push(await make(call));
  outcomes = made;
  return made;
}

async function make({ method, url, token, body, how }: Call): Promise<Outcome> {
  const request = { method, ...(body && { body, headers: { 'content-type': 'application/json' } }) };
  const answer = await callWith(token, url, request)
    .then(({ status, text }) => ({ status, label: `${status}`, says: text }))
    .catch(whyNot);
  const at = new Date().toISOString().slice(11, 19);
  const outcome = { at, call: `${method} ${url.host}${url.pathname}`, how, ...answer };
  say(`${outcome.call}  ${answer.label}  ${answer.says}`);
  return outcome;
}

/** Latchkey gives no token, or somebody does not answer. */
function whyNot(error: unknown) {
  if (!(error instanceof Problem)) throw error;
  const label = error instanceof Refusal ? 'no token' : 'no answer';
  return { status: error.status, label, says: error.message };
}

/** 503 while somebody does not answer, 502 while a call is refused: nobody takes that for good news. */
function statusOf(made: Outcome[]): number {
  if (made.some(({ status }) => status === 503)) return 503;
  return made.some(({ status }) => status >= 400) ? 502 : 200;
}

const app = createApp()
  .set('view engine', 'ejs')
  .set('views', join(import.meta.dirname, 'pages'));

app.get('/', (_req, res) => {
  res.set('cache-control', 'no-store').status(statusOf(outcomes)).render('shop', { outcomes, issuer });
});
app.get('/shop.css', (_req, res) => res.sendFile(join(import.meta.dirname, 'pages/shop.css')));

// A person presses the button and comes back to the page (303); a program gets the outcomes.
app.post('/place-order', async (req, res) => {
  if (isFromElsewhere(req)) throw new Problem(403, 'access_denied', 'Orders are placed from the page of this shop.');
  const made = await placeOrder();
  if (req.accepts(['json', 'html']) === 'html') return res.redirect(303, '/');
  const status = statusOf(made);
  res
    .status(status)
    .set(status === 503 ? { 'Retry-After': '5' } : {})
    .json(made);
});

/** Another site's form, sent by a browser that is here too. Programs send no such header. */
function isFromElsewhere(req: Request): boolean {
  return !['same-origin', undefined].includes(req.get('sec-fetch-site'));
}

/** One round after the other, as long as the program runs. */
async function repeat(everyMs: number): Promise<void> {
  await placeOrder();
  setTimeout(() => void repeat(everyMs), everyMs);
}

serve(app, '4000');
if (Number(EVERY_SECONDS) > 0) void repeat(Number(EVERY_SECONDS) * 1000);

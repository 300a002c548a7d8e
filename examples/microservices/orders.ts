/**
 * The orders service. It is an API, called with tokens that it verifies itself; and a client, since it calls billing:
 * once as itself, and once for whoever called it. It never passes on the token that it was called with: that is for
 * this API only, and billing would refuse it.
 */
import express from 'express';
import { z } from 'zod';
import { billingApi, ordersApi } from './apis.ts';
import { claimsOf, requireToken, tokenOf } from './bearer.ts';
import { invalidToken, Problem } from './problems.ts';
import { exchangeToken, Refusal } from './provider.ts';
import { addressOf, connect, createApp, serve } from './service.ts';
import { type Answer, call, callWith, ownToken } from './tokens.ts';
import { verifyLocally } from './verify.ts';

const provider = await connect();
const { BILLING_URL = addressOf('4002') } = process.env;
const check = verifyLocally(provider, ordersApi);

const app = createApp();

// Nobody's in particular, so the service asks as itself. Whoever calls may read orders; billing never hears of them.
const forPrices = ownToken(provider, { resource: billingApi, scope: 'prices:read' });

app.get('/prices', requireToken(check, 'orders:read'), async (_req, res) => {
  res.json(answerOf(await callWith(forPrices, new URL('/prices', BILLING_URL))));
});

// Somebody's: billing must know whose order it is, and that this service acts for them.
const Order = z.strictObject({ item: z.enum(['tea', 'cake']), quantity: z.int().min(1).max(12) });

app.post('/orders', requireToken(check, 'orders:place'), express.json({ limit: '10kb' }), async (req, res) => {
  // The scope is what the client may ask for. What the client is, its operator wrote down.
  if (claimsOf(res)['urn:latchkey:client']?.team !== 'storefront') {
    throw new Problem(403, 'access_denied', 'Only clients of the team storefront place orders.');
  }
  const order = Order.safeParse(req.body);
  if (!order.success) throw new Problem(400, 'invalid_request', z.prettifyError(order.error));

  const token = await tokenForBilling(tokenOf(res));
  const charge = await call(new URL('/charges', BILLING_URL), token, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(order.data),
  });
  res.status(201).json({ ordered: order.data, charge: answerOf(charge) });
});

/** RFC 8693. Latchkey looks at the caller's token once more, and knows what this service cannot: what was taken back. */
async function tokenForBilling(subjectToken: string): Promise<string> {
  try {
    const wish = { resource: billingApi, scope: 'charges:create' };
    return (await exchangeToken(provider, subjectToken, wish)).access_token;
  } catch (error) {
    // RFC 8693 §2.2.2: so it says that the subject token is no good.
    if (error instanceof Refusal && error.error === 'invalid_request') throw invalidToken('the token is not active');
    throw error;
  }
}

/** What billing says. Its no is about this service's request, not about the caller's: so it is 502 and never 401. */
function answerOf({ status, headers, text }: Answer): unknown {
  if (status < 300) return JSON.parse(text);
  if (status !== 503) throw new Problem(502, 'bad_gateway', `Billing refused: ${status} ${text}`);
  const wait = { 'Retry-After': headers.get('retry-after') ?? '5' };
  throw new Problem(503, 'temporarily_unavailable', 'Billing cannot answer at the moment. Try again.', wait);
}

serve(app, '4001');

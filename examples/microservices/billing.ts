/**
 * The billing service. Two routes verify tokens here, which is quick. Where money is at stake two others ask Latchkey,
 * so that access which was taken back ends at once and not when the token expires.
 */
import express from 'express';
import { z } from 'zod';
import { billingApi } from './apis.ts';
import { claimsOf, requireToken } from './bearer.ts';
import { askLatchkey } from './introspect.ts';
import { Problem } from './problems.ts';
import { connect, createApp, serve } from './service.ts';
import { verifyLocally } from './verify.ts';

const provider = await connect();
const local = verifyLocally(provider, billingApi);
const asked = askLatchkey(provider, billingApi);

const prices = { tea: 250, cake: 420 };
const Charge = z.strictObject({ item: z.enum(['tea', 'cake']), quantity: z.int().min(1).max(12) });
/** What each subject owes, in cents. It lives as long as this program. */
const accounts = new Map<string, { charges: number; owed: number }>();
const accountOf = (sub: string) => accounts.get(sub) ?? { charges: 0, owed: 0 };

const app = createApp();

app.get('/prices', requireToken(local, 'prices:read'), (_req, res) => void res.json(prices));

app.get('/charges', requireToken(local, 'charges:read'), (_req, res) => {
  res.json({ charges: accountOf(claimsOf(res).sub).charges });
});

app.get('/balance', requireToken(asked, 'charges:read'), (_req, res) => {
  res.json({ owed_cents: accountOf(claimsOf(res).sub).owed });
});

app.post('/charges', requireToken(asked, 'charges:create'), express.json({ limit: '10kb' }), (req, res) => {
  // RFC 8693 §4.1: `sub` is who pays, `act` who says so. Without it somebody charges in their own name: not here.
  const { sub, act } = claimsOf(res);
  if (!act) throw new Problem(403, 'access_denied', 'Charges are made on behalf of somebody, by token exchange.');
  const charge = Charge.safeParse(req.body);
  if (!charge.success) throw new Problem(400, 'invalid_request', z.prettifyError(charge.error));
  const cents = prices[charge.data.item] * charge.data.quantity;
  const { charges, owed } = accountOf(sub);
  accounts.set(sub, { charges: charges + 1, owed: owed + cents });
  res.status(201).json({ cents, charged_to: sub, by: act.sub });
});

serve(app, '4002');

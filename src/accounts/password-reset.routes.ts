import { type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import { isForm, readBody } from '../http/body.ts';
import { HttpError, tooManyRequests, unacceptable } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import type { Attempts } from './attempts.ts';
import { type DeviceCookies, knownDeviceCookie } from './known-device.ts';
import { forgotPage, newPasswordPage } from './new-password-page.ts';
import {
  findResetLink,
  type Reset,
  type ResetDependencies,
  type ResetRequest,
  requestReset,
  resetPassword,
} from './password-reset.ts';
import { returnToOf, withReturnTo } from './return-to.ts';

export type PasswordResetDependencies = ResetDependencies & {
  attempts: Attempts;
  pages: Pages;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  deviceCookies: DeviceCookies;
};

export function passwordResetRoutes(dependencies: PasswordResetDependencies): Router {
  const { pages, rateLimit, origin, deviceCookies } = dependencies;
  const ownPages = sameOrigin(origin);
  const router = Router();

  router.get('/auth/forgot-password', showForgot);
  router.post('/auth/forgot-password', ownPages, rateLimit('forgot-password', 30), readBody, submitForgot);
  // Mail scanners and previews open links: looking at one does nothing.
  router.get('/auth/reset-password', showReset);
  router.post('/auth/reset-password', ownPages, rateLimit('reset-password', 60), readBody, submitReset);

  async function showForgot(req: Request, res: Response): Promise<void> {
    await pages.page(res, 'forgot-password', forgotPage(returnToOf(req)).data);
  }

  async function submitForgot(req: Request, res: Response): Promise<void> {
    const returnTo = returnToOf(req);
    const from = { address: req.ip, source: auditSource(req, res), returnTo };
    const request = await requestReset(dependencies, req.body, from);
    noteOutcome(res, `reset request ${request.outcome}`);
    if (request.outcome === 'answered') {
      if (isForm(req)) return pages.page(res, 'check-email', { about: 'reset' });
      res.status(202).set('Cache-Control', 'no-store').json({ status: 'check_your_email' });
      return;
    }
    if (!isForm(req)) throw resetError(request);
    if (request.outcome === 'throttled') res.set('Retry-After', String(request.retryAfterSeconds));
    const { status, data } = forgotPage(returnTo, { email: req.body?.email, problem: request });
    await pages.page(res, 'forgot-password', data, { status });
  }

  async function showReset(req: Request, res: Response): Promise<void> {
    const { token } = req.query;
    const link = await findResetLink(dependencies, token);
    if (!link) return showEnded(res);
    await pages.page(res, 'new-password', newPasswordPage(place(link.account.email, token)).data);
  }

  async function submitReset(req: Request, res: Response): Promise<void> {
    const reset = await resetPassword(dependencies, req.body, { address: req.ip, source: auditSource(req, res) });
    noteOutcome(res, `reset ${reset.outcome}`);
    if (reset.outcome === 'reset') {
      // So that whoever goes on guessing cannot keep its owner from signing in with it (SECURITY 52).
      const { name, value, options } = knownDeviceCookie(deviceCookies, req.headers.cookie, reset.email, 'reset');
      res.cookie(name, value, options);
      if (!isForm(req)) return void res.status(204).end();
      // Signing in is a step of its own: there the second factor is asked for (SECURITY 53).
      const query = new URLSearchParams({ ...(reset.returnTo && { return_to: reset.returnTo }), done: 'password' });
      return res.redirect(303, `/auth/login?${query}`);
    }
    if (!isForm(req)) throw resetError(reset);
    if (reset.outcome === 'lost') return showEnded(res);
    if (reset.outcome === 'throttled') throw tooManyRequests(reset.retryAfterSeconds);
    const { token } = req.body as { token: unknown };
    const { status, data } = newPasswordPage(place(reset.link.account.email, token), reset.issues);
    await pages.page(res, 'new-password', data, { status });
  }

  async function showEnded(res: Response): Promise<void> {
    await pages.page(
      res,
      'reset-ended',
      { forgotUrl: withReturnTo('/auth/forgot-password', undefined) },
      { status: 400 },
    );
  }

  return router;
}

function place(email: string, token: unknown) {
  return { about: 'reset', action: '/auth/reset-password', email, hidden: { token: String(token) } } as const;
}

/** The same failures for programs. */
function resetError(outcome: Exclude<Reset | ResetRequest, { outcome: 'reset' | 'answered' }>): HttpError {
  switch (outcome.outcome) {
    case 'invalid':
      return unacceptable(outcome.issues);
    case 'throttled':
      return tooManyRequests(outcome.retryAfterSeconds);
    case 'lost':
      return new HttpError(400, 'invalid_token', 'This link has been used or has run out.');
  }
}

import { type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import { isForm, readBody } from '../http/body.ts';
import { HttpError, tooManyRequests, unacceptable } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { requireAccount, sessionOf, signedIn } from './account.routes.ts';
import { type DeviceCookies, findKnownDevice } from './known-device.ts';
import { rememberDevice, type SessionFunctions } from './login.routes.ts';
import {
  changePassword,
  type PasswordChange,
  type PasswordChangeDependencies,
  passwordPage,
} from './password-change.ts';

export type PasswordDependencies = PasswordChangeDependencies & {
  pages: Pages;
  sessions: Pick<SessionFunctions, 'current' | 'signIn'>;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  deviceCookies: DeviceCookies;
};

export function passwordRoutes(dependencies: PasswordDependencies): Router {
  const { pages, sessions, rateLimit, origin, deviceCookies } = dependencies;
  const account = requireAccount(dependencies);
  const router = Router();

  router.get('/account/password', account, showPassword);
  // A password is judged here, so these tries and those at sign-in are one count.
  router.post('/account/password', sameOrigin(origin), rateLimit('sign-in', 60), readBody, account, submitPassword);

  async function showPassword(_req: Request, res: Response): Promise<void> {
    await pages.page(res, 'password', passwordPage(signedIn(res)).data);
  }

  async function submitPassword(req: Request, res: Response): Promise<void> {
    const { id, email } = signedIn(res);
    const knownDevice = findKnownDevice(deviceCookies, req.headers.cookie, email);
    const change = await changePassword(dependencies, signedIn(res), {
      body: req.body,
      address: req.ip,
      knownDevice,
      source: auditSource(req, res),
    });
    noteOutcome(res, `password change ${change.outcome}`);
    if (change.outcome === 'changed') {
      rememberDevice(deviceCookies, req, res, email);
      await sessions.signIn(req, res, id, [...new Set(['pwd', ...sessionOf(res).amr])]);
      if (isForm(req)) res.redirect(303, '/account?done=password');
      else res.status(204).end();
      return;
    }
    if (!isForm(req)) throw passwordChangeError(change);
    if (change.outcome === 'throttled') res.set('Retry-After', String(change.retryAfterSeconds));
    const { status, data } = passwordPage(signedIn(res), change);
    await pages.page(res, 'password', data, { status });
  }

  return router;
}

/** The same failures for programs. */
function passwordChangeError(change: Exclude<PasswordChange, { outcome: 'changed' }>): HttpError {
  switch (change.outcome) {
    case 'invalid':
      return unacceptable(change.issues);
    case 'throttled':
      return tooManyRequests(change.retryAfterSeconds);
    case 'rejected':
      return new HttpError(401, 'invalid_credentials', 'That is not the current password.');
  }
}

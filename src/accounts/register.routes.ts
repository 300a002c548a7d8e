import { type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import { isForm, readBody } from '../http/body.ts';
import { HttpError, tooManyRequests, unacceptable } from '../http/errors.ts';
import { type Pages, reference } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import type { DeviceCookies } from './known-device.ts';
import { rememberDevice, type SessionFunctions } from './login.routes.ts';
import { type Registration, type RegistrationDependencies, registerAccount, registerPage } from './registration.ts';
import { registrationCookie } from './registration-cookie.ts';
import { returnToOf, withReturnTo } from './return-to.ts';

export type RegisterDependencies = RegistrationDependencies & {
  pages: Pages;
  sessions: SessionFunctions;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  deviceCookies: DeviceCookies;
};

export function registerRoutes(dependencies: RegisterDependencies): Router {
  const { pages, sessions, rateLimit, origin, deviceCookies, accountRegistration } = dependencies;
  const router = Router();

  router.get('/auth/register', showRegister);
  router.post('/auth/register', sameOrigin(origin), rateLimit('register', 30), readBody, submitRegister);

  async function showRegister(req: Request, res: Response): Promise<void> {
    if (accountRegistration === 'closed') return sendRegistrationClosed(pages, res);
    await pages.page(res, 'register', registerPage(place(returnToOf(req))).data);
  }

  async function submitRegister(req: Request, res: Response): Promise<void> {
    const source = auditSource(req, res);
    const continueTo = returnToOf(req) ?? '/account';
    const registration = await registerAccount(dependencies, req.body, { source, continueTo });
    noteOutcome(res, `registration ${registration.outcome}`);
    if (registration.outcome === 'mailed') {
      return sendCheckEmail({ pages, deviceCookies }, req, res, registration.browser);
    }
    if (registration.outcome === 'registered') {
      const { id, email, name, emailVerified } = registration.account;
      rememberDevice(deviceCookies, req, res, email);
      await sessions.signIn(req, res, id, ['pwd']);
      if (isForm(req)) return res.redirect(303, continueTo);
      res.status(201).set('Cache-Control', 'no-store').json({ sub: id, email, name, email_verified: emailVerified });
      return;
    }
    if (!isForm(req)) throw registrationError(registration);
    if (registration.outcome === 'closed') return sendRegistrationClosed(pages, res);
    if (registration.outcome === 'throttled') res.set('Retry-After', String(registration.retryAfterSeconds));
    const { status, data } = registerPage(place(returnToOf(req)), { body: req.body, problem: registration });
    await pages.page(res, 'register', data, { status });
  }

  return router;
}

function place(returnTo: string | undefined) {
  return {
    action: '/auth/register',
    hidden: returnTo === undefined ? {} : { return_to: returnTo },
    signInUrl: withReturnTo('/auth/login', returnTo),
  };
}

/** The one answer to a registration whose address has to be proven, whether or not it has an account (SECURITY 50). */
export async function sendCheckEmail(
  { pages, deviceCookies }: Pick<RegisterDependencies, 'pages' | 'deviceCookies'>,
  req: Request,
  res: Response,
  browser: string,
): Promise<void> {
  const { name, value, options } = registrationCookie(deviceCookies.secure, browser);
  res.cookie(name, value, options);
  if (isForm(req)) return pages.page(res, 'check-email', { about: 'register' });
  res.status(202).set('Cache-Control', 'no-store').json({ status: 'check_your_email' });
}

/** The failures of a registration for programs. */
export function registrationError(
  registration: Exclude<Registration, { outcome: 'registered' | 'mailed' }>,
): HttpError {
  switch (registration.outcome) {
    case 'invalid':
      return unacceptable(registration.issues);
    case 'throttled':
      return tooManyRequests(registration.retryAfterSeconds);
    case 'email-taken':
      return new HttpError(409, 'email_taken', 'That address already has an account.');
    case 'closed':
      return new HttpError(403, 'registration_closed', 'Accounts cannot be created here.');
  }
}

/** Says kindly that accounts are not made in this way. */
export async function sendRegistrationClosed(pages: Pages, res: Response): Promise<void> {
  await pages.page(
    res,
    'error',
    {
      title: 'New accounts are made by invitation',
      text: ['Whoever runs this server creates accounts here. Ask them for one, or sign in if you have one already.'],
      action: { url: '/auth/login', label: 'Sign in' },
      ...reference(res),
    },
    { status: 403 },
  );
}

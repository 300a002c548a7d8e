import { type Request, type Response, Router } from 'express';
import type { Database } from '../db/database.ts';
import { isForm, issuesOf, readBody } from '../http/body.ts';
import { HttpError, tooManyRequests } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { findActiveAccount } from './accounts.ts';
import type { Authenticate } from './authenticate.ts';
import { type DeviceCookies, findKnownDevice, knownDeviceCookie } from './known-device.ts';
import { returnToOf, withReturnTo } from './return-to.ts';
import { LoginForm, type SignInOutcome, signInPage } from './sign-in-page.ts';

export type BrowserSession = { accountId: string; loginAt: Date; amr: readonly string[] };

/** Who is signed in in this browser: the provider's own session, handed in from above. */
export type SessionFunctions = {
  current(req: Request, res: Response): Promise<BrowserSession | undefined>;
  /** @param stillStands asked in the end whether what proved the person still does; else HttpError 401 */
  signIn(
    req: Request,
    res: Response,
    accountId: string,
    amr: readonly string[],
    stillStands?: () => Promise<boolean>,
  ): Promise<void>;
  signOut(req: Request, res: Response): Promise<void>;
};

export type LoginDependencies = {
  db: Database;
  pages: Pages;
  sessions: SessionFunctions;
  authenticate: Authenticate;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  deviceCookies: DeviceCookies;
  /** Whether the sign-in page offers to create an account. */
  registration: boolean;
};

export function loginRoutes(dependencies: LoginDependencies): Router {
  const { db, pages, sessions, rateLimit, origin, registration } = dependencies;
  const ownPages = sameOrigin(origin);
  const router = Router();

  router.get('/auth/login', showLogin);
  // Other sites are turned away before they are counted: they must not use up this address's tries.
  router.post('/auth/login', ownPages, rateLimit('sign-in', 60), readBody, submitLogin);
  router.post('/auth/logout', ownPages, signOut);

  async function showLogin(req: Request, res: Response): Promise<void> {
    const returnTo = returnToOf(req);
    const session = await sessions.current(req, res);
    if (session && (await findActiveAccount(db, session.accountId))) return res.redirect(303, returnTo ?? '/account');
    await pages.page(res, 'sign-in', signInPage(place(returnTo)).data);
  }

  async function submitLogin(req: Request, res: Response): Promise<void> {
    const outcome = await submitCredentials(dependencies, req, res);
    if (outcome.outcome === 'authenticated') {
      const { id, email, name } = outcome.account;
      await sessions.signIn(req, res, id, ['pwd'], outcome.stillStands);
      if (isForm(req)) return res.redirect(303, returnToOf(req) ?? '/account');
      res.set('Cache-Control', 'no-store').json({ sub: id, email, name });
      return;
    }
    if (!isForm(req)) throw signInError(outcome);
    const { status, data } = signInPage(place(returnToOf(req)), { email: req.body?.email, problem: outcome });
    if (outcome.outcome === 'throttled') res.set('Retry-After', String(outcome.retryAfterSeconds));
    await pages.page(res, 'sign-in', data, { status });
  }

  async function signOut(req: Request, res: Response): Promise<void> {
    await sessions.signOut(req, res);
    if (isForm(req)) res.redirect(303, '/');
    else res.status(204).end();
  }

  function place(returnTo: string | undefined) {
    return {
      action: '/auth/login',
      hidden: returnTo === undefined ? {} : { return_to: returnTo },
      registerUrl: registration ? withReturnTo('/auth/register', returnTo) : undefined,
    };
  }

  return router;
}

/**
 * Judges the address and password in a request's body, form or JSON. On success this browser is known from now on for
 * the account; signing in is left to the caller, who may have more questions. Throws `BusyError`.
 */
export async function submitCredentials(
  { authenticate, deviceCookies }: Pick<LoginDependencies, 'authenticate' | 'deviceCookies'>,
  req: Request,
  res: Response,
): Promise<SignInOutcome> {
  const form = LoginForm.safeParse(req.body ?? {});
  if (!form.success) return { outcome: 'invalid', issues: issuesOf(form.error) };
  const { email, password } = form.data;
  const knownDevice = findKnownDevice(deviceCookies, req.headers.cookie, email);
  const outcome = await authenticate({ email, password, knownDevice });
  noteOutcome(res, `password ${outcome.outcome}`);
  if (outcome.outcome === 'authenticated') rememberDevice(deviceCookies, req, res, email);
  return outcome;
}

/** Marks this browser as one in which the account with that address has signed in. */
export function rememberDevice(deviceCookies: DeviceCookies, req: Request, res: Response, email: string): void {
  const { name, value, options } = knownDeviceCookie(deviceCookies, req.headers.cookie, email);
  res.cookie(name, value, options);
}

/** The same failures for programs. An unknown address is a wrong password. */
export function signInError(outcome: Exclude<SignInOutcome, { outcome: 'authenticated' }>): HttpError {
  switch (outcome.outcome) {
    case 'invalid':
      return new HttpError(400, 'invalid_request', 'The request body is not acceptable.', { issues: outcome.issues });
    case 'throttled':
      return tooManyRequests(outcome.retryAfterSeconds);
    case 'rejected':
      return new HttpError(401, 'invalid_credentials', 'That email and password do not match.');
  }
}

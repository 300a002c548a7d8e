import { type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { isForm, issuesOf, readBody } from '../http/body.ts';
import { HttpError, tooManyRequests, unacceptable } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { findActiveAccount } from './accounts.ts';
import type { Authenticate } from './authenticate.ts';
import { type DeviceCookies, findDeviceForPassword, knownDeviceCookie } from './known-device.ts';
import { isPasskeyAnswer, type PasskeySteps } from './passkey-step.ts';
import { returnToOf, withReturnTo } from './return-to.ts';
import { LoginForm, type SignInOutcome, signInPage } from './sign-in-page.ts';
import { isMultiFactor } from './sign-in-progress.ts';
import type { SignInPlace, SignInSteps } from './sign-in-steps.routes.ts';

/** `uid` is the session's own name, which no cookie holds and no page shows. */
export type BrowserSession = { uid: string; accountId: string; loginAt: Date; amr: readonly string[] };

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
  /** The same person proved more: `session` goes on under a new id, with these methods and signed in now; else HttpError 401. */
  renew(
    req: Request,
    res: Response,
    session: BrowserSession,
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
  passkeys: PasskeySteps;
  /** Whether the sign-in page offers to create an account. */
  registration: boolean;
  steps: SignInSteps;
};

export function loginRoutes(dependencies: LoginDependencies): Router {
  const { db, pages, sessions, rateLimit, origin, steps } = dependencies;
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
    const notice = req.query.done === 'password' ? 'Your password is changed. Sign in with the new one.' : undefined;
    await pages.page(res, 'sign-in', { ...signInPage(pageAt(dependencies, returnTo)).data, notice });
  }

  async function submitLogin(req: Request, res: Response): Promise<void> {
    const outcome = await submitCredentials(dependencies, req, res);
    if (outcome.outcome === 'authenticated') {
      const { account, amr, stillStands } = outcome;
      return steps.advance(req, res, loginPlace(dependencies, req, res), { account, amr, stillStands });
    }
    if (!isForm(req)) throw signInError(outcome);
    const { status, data } = signInPage(pageAt(dependencies, returnToOf(req)), {
      email: req.body?.email,
      problem: outcome,
    });
    if (outcome.outcome === 'throttled') res.set('Retry-After', String(outcome.retryAfterSeconds));
    await pages.page(res, 'sign-in', data, { status });
  }

  async function signOut(req: Request, res: Response): Promise<void> {
    await sessions.signOut(req, res);
    if (isForm(req)) res.redirect(303, '/');
    else res.status(204).end();
  }

  return router;
}

function pageAt(
  { registration, passkeys }: Pick<LoginDependencies, 'registration' | 'passkeys'>,
  returnTo: string | undefined,
) {
  return {
    action: '/auth/login',
    hidden: returnTo === undefined ? {} : { return_to: returnTo },
    registerUrl: registration ? withReturnTo('/auth/register', returnTo) : undefined,
    forgotUrl: withReturnTo('/auth/forgot-password', returnTo),
    passkeys: passkeys.available,
  };
}

/** A sign-in that no client asked for: its steps are below /auth, and it ends where `return_to` says. */
export function loginPlace(dependencies: LoginPlaceDependencies, req: Request, res: Response): SignInPlace {
  const { db, pages, sessions } = dependencies;
  const returnTo = returnToOf(req);
  const page = pageAt(dependencies, returnTo);
  return {
    path: '/auth',
    hidden: page.hidden,
    async signIn({ account: { id, email, name, administratorSince }, amr, stillStands }) {
      await sessions.signIn(req, res, id, amr, stillStands);
      const location = returnTo ?? '/account';
      // Whoever has a second factor was asked for it on the way here.
      const setUp = administratorSince !== null && !isMultiFactor(amr);
      return {
        location: setUp ? withReturnTo('/account/two-step/set-up', location) : location,
        json: { sub: id, email, name },
      };
    },
    async startAgain(problem, status) {
      const session = await sessions.current(req, res);
      if (session && (await findActiveAccount(db, session.accountId))) return res.redirect(303, returnTo ?? '/account');
      await pages.page(res, 'sign-in', { ...signInPage(page).data, problem }, { status });
    },
  };
}

export type LoginPlaceDependencies = Pick<LoginDependencies, 'db' | 'pages' | 'sessions' | 'registration' | 'passkeys'>;

/**
 * Judges the address and password, or the passkey, in a request's body, form or JSON. Signing in is left to the
 * caller, who may have more questions. Throws `BusyError`.
 */
export async function submitCredentials(
  dependencies: Pick<LoginDependencies, 'authenticate' | 'deviceCookies' | 'passkeys'>,
  req: Request,
  res: Response,
): Promise<SignInOutcome> {
  const { authenticate, deviceCookies } = dependencies;
  if (isPasskeyAnswer(req.body)) return submitPasskey(dependencies.passkeys, req, res);
  const form = LoginForm.safeParse(req.body ?? {});
  if (!form.success) return { outcome: 'invalid', issues: issuesOf(form.error) };
  const { email, password } = form.data;
  const knownDevice = findDeviceForPassword(deviceCookies, req.headers.cookie, email);
  const outcome = await authenticate({
    email,
    password,
    address: req.ip,
    knownDevice,
    source: auditSource(req, res),
  });
  noteOutcome(res, `password ${outcome.outcome}`);
  return outcome.outcome === 'authenticated' ? { ...outcome, amr: ['pwd'] } : outcome;
}

async function submitPasskey(passkeys: PasskeySteps, req: Request, res: Response): Promise<SignInOutcome> {
  const outcome = await passkeys.judge(req, auditSource(req, res), { purpose: 'sign-in' });
  noteOutcome(res, `passkey ${'reason' in outcome ? outcome.reason : outcome.outcome}`);
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
      return unacceptable(outcome.issues);
    case 'throttled':
      return tooManyRequests(outcome.retryAfterSeconds);
    case 'rejected':
      return new HttpError(401, 'invalid_credentials', 'That email and password do not match.');
    case 'passkey-rejected':
      return new HttpError(401, 'invalid_credentials', 'That passkey did not work here.');
    case 'suspended':
      return new HttpError(403, 'account_suspended', 'This account is suspended. Ask whoever runs this server.');
  }
}

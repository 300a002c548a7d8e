import { type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import { isForm, readBody } from '../http/body.ts';
import { HttpError, tooManyRequests } from '../http/errors.ts';
import { type Pages, wantsPage } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import type { Pages as PageData } from '../http/views.ts';
import { requireAccount, signedIn } from './account.routes.ts';
import { findActiveAccount } from './accounts.ts';
import { findLink } from './email-links.ts';
import { resendVerification, verifyEmail } from './email-verification.ts';
import { fieldProblems } from './field-problems.ts';
import type { DeviceCookies } from './known-device.ts';
import { rememberDevice, type SessionFunctions } from './login.routes.ts';
import type { AccountRegistration } from './registration.ts';
import { endedRegistrationCookie, readRegistrationCookie } from './registration-cookie.ts';
import { tooManyTries } from './sign-in-page.ts';
import {
  type FinishedRegistration,
  findRegistration,
  finishRegistration,
  type VerifiedRegistrationDependencies,
} from './verified-registration.ts';

export type VerifyEmailDependencies = VerifiedRegistrationDependencies & {
  pages: Pages;
  sessions: SessionFunctions;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  deviceCookies: DeviceCookies;
  accountRegistration: AccountRegistration;
};

/** The links of mails that prove an address: of an account that is there, or of one that is then made. */
export function verifyEmailRoutes(dependencies: VerifyEmailDependencies): Router {
  const { db, encryption, pages, sessions, rateLimit, origin, deviceCookies, accountRegistration } = dependencies;
  const ownForms = sameOrigin(origin);
  const account = requireAccount(dependencies);
  const router = Router();

  router.get('/auth/verify-email', showVerifyEmail);
  router.post('/auth/verify-email', ownForms, rateLimit('verify-email', 60), readBody, submitVerifyEmail);
  router.post('/account/verify-email', ownForms, rateLimit('resend', 30), readBody, account, resend);

  async function showVerifyEmail(req: Request, res: Response): Promise<void> {
    const { token } = req.query;
    const link = await findLink(db, encryption, token, ['verify']);
    if (link) {
      const { email } = link.payload as { email: string };
      return pages.page(res, 'verify-email', page(token, email, 'verify'));
    }
    const pending = await findRegistration(dependencies, { token, browser: browserOf(req) });
    if (!pending) return showLinkEnded(req, res);
    const password = pending.passwordNeeded ? {} : undefined;
    await pages.page(res, 'verify-email', { ...page(token, pending.email, 'register'), password });
  }

  async function submitVerifyEmail(req: Request, res: Response): Promise<void> {
    const { token, password } = (req.body ?? {}) as { token?: unknown; password?: unknown };
    const source = auditSource(req, res);
    const verified = await verifyEmail(dependencies, token, source);
    if (verified) {
      noteOutcome(res, 'email verified');
      if (!isForm(req)) return sendJson(res, 200, { email: verified.email, email_verified: true });
      // Whoever is signed in here may be somebody else.
      const session = await sessions.current(req, res);
      if (session?.accountId === verified.id) return res.redirect(303, '/account?done=email-verified');
      return pages.page(res, 'email-verified', { email: verified.email });
    }
    const typed = typeof password === 'string' ? password.slice(0, longestPassword) : undefined;
    const finished = await finishRegistration(
      dependencies,
      { token, browser: browserOf(req), password: typed },
      source,
    );
    noteOutcome(res, finished ? `registration ${finished.outcome}` : 'link ended');
    if (!finished) return showLinkEnded(req, res);
    if (finished.outcome === 'registered') return signInAndGoOn(req, res, finished);
    if (!isForm(req)) throw registrationProblem(finished);
    if (finished.outcome === 'email-taken') return pages.page(res, 'link-ended', { taken: true }, { status: 409 });
    const { status, problem, wrong } = pageProblem(finished);
    if (finished.outcome === 'throttled') res.set('Retry-After', String(finished.retryAfterSeconds));
    const data = { ...page(token, finished.email, 'register'), password: { wrong }, problem };
    await pages.page(res, 'verify-email', data, { status });
  }

  async function signInAndGoOn(
    req: Request,
    res: Response,
    { account: { id, email, name }, continueTo }: Extract<FinishedRegistration, { outcome: 'registered' }>,
  ): Promise<void> {
    const cookie = endedRegistrationCookie(deviceCookies.secure);
    res.clearCookie(cookie.name, cookie.options);
    rememberDevice(deviceCookies, req, res, email);
    await sessions.signIn(req, res, id, ['pwd']);
    if (isForm(req)) res.redirect(303, continueTo);
    else sendJson(res, 201, { sub: id, email, name, email_verified: true });
  }

  async function resend(req: Request, res: Response): Promise<void> {
    const result = await resendVerification(dependencies, signedIn(res), req.ip);
    noteOutcome(res, `verification ${result.outcome}`);
    if (result.outcome === 'throttled') throw tooManyRequests(result.retryAfterSeconds);
    if (isForm(req)) res.redirect(303, `/account?done=${result.outcome === 'sent' ? 'link-sent' : 'email-verified'}`);
    else sendJson(res, 202, { email_verified: result.outcome === 'verified' });
  }

  async function showLinkEnded(req: Request, res: Response): Promise<void> {
    if (req.method === 'POST' && !wantsPage(req)) {
      throw new HttpError(400, 'invalid_token', 'This link has been used or has run out.');
    }
    const session = await sessions.current(req, res);
    const here = session && (await findActiveAccount(db, session.accountId));
    if (here?.emailVerified) return res.redirect(303, '/account?done=email-verified');
    const registerUrl = accountRegistration === 'closed' ? undefined : '/auth/register';
    const data = { taken: false, ...(here && { resendAction: '/account/verify-email' }), registerUrl };
    await pages.page(res, 'link-ended', data, { status: 400 });
  }

  function browserOf(req: Request): string | undefined {
    return readRegistrationCookie(deviceCookies.secure, req.headers.cookie);
  }

  return router;
}

/** No new password is longer, so a longer one needs no work to be wrong. */
const longestPassword = 1024;

function page(token: unknown, email: string, about: PageData['verify-email']['about']): PageData['verify-email'] {
  return { action: '/auth/verify-email', hidden: { token: String(token) }, email, about };
}

function sendJson(res: Response, status: number, body: object): void {
  res.status(status).set('Cache-Control', 'no-store').json(body);
}

type Unfinished = Exclude<FinishedRegistration, { outcome: 'registered' }>;

function pageProblem(finished: Exclude<Unfinished, { outcome: 'email-taken' }>) {
  if (finished.outcome === 'throttled') {
    return { status: 429, problem: tooManyTries(finished.retryAfterSeconds, undefined), wrong: undefined };
  }
  const message =
    finished.outcome === 'password-needed' ? 'Enter your password.' : 'That’s not the password that was chosen.';
  const { problem, wrong } = fieldProblems([{ path: 'password', message }]);
  return { status: 422, problem, ...wrong('password') };
}

function registrationProblem(finished: Unfinished): HttpError {
  switch (finished.outcome) {
    case 'throttled':
      return tooManyRequests(finished.retryAfterSeconds);
    case 'email-taken':
      return new HttpError(409, 'email_taken', 'That address has an account by now. Sign in.');
    case 'password-needed':
    case 'wrong-password':
      return new HttpError(
        401,
        'invalid_credentials',
        'This is not the browser that registered: send the password that was chosen, too.',
      );
  }
}

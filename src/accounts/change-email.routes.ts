import { type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import { isForm, readBody } from '../http/body.ts';
import { HttpError, tooManyRequests, unacceptable } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import type { Pages as PageData } from '../http/views.ts';
import { requireAccount, signedIn } from './account.routes.ts';
import type { Account } from './accounts.ts';
import {
  cancelEmailChange,
  type EmailChangeDependencies,
  type EmailChangeStart,
  findPendingChange,
  hasPassword,
  startEmailChange,
} from './change-email.ts';
import {
  answerEmailQuestion,
  type EmailAnswer,
  type EmailAnswerDependencies,
  findEmailQuestion,
} from './email-answers.ts';
import { fieldProblems, typedText } from './field-problems.ts';
import { type DeviceCookies, findDeviceForPassword } from './known-device.ts';
import type { SessionFunctions } from './login.routes.ts';
import { requireRecentSignIn } from './recent-sign-in.ts';
import { tooManyTries } from './sign-in-page.ts';

export type ChangeEmailDependencies = EmailChangeDependencies &
  EmailAnswerDependencies & {
    pages: Pages;
    sessions: Pick<SessionFunctions, 'current'>;
    rateLimit: RateLimit;
    /** The public origin, `https://id.example`. */
    origin: string;
    deviceCookies: DeviceCookies;
  };

export function changeEmailRoutes(dependencies: ChangeEmailDependencies): Router {
  const { db, encryption, pages, sessions, rateLimit, origin, deviceCookies } = dependencies;
  const ownPages = sameOrigin(origin);
  const account = requireAccount(dependencies);
  const router = Router();

  router.get('/account/email', account, requireRecentSignIn, showEmail);
  // A password is judged here, so these tries and those at sign-in are one count.
  const judged = [ownPages, rateLimit('sign-in', 60), readBody, account, requireRecentSignIn];
  router.post('/account/email', judged, submitEmail);
  router.post('/account/email/cancellation', ownPages, readBody, account, cancel);
  // From mails, in whichever browser they are read; a link that is only looked at does nothing.
  router.get('/auth/change-email', showQuestion);
  router.post('/auth/change-email', ownPages, rateLimit('change-email', 60), readBody, submitAnswer);

  async function showEmail(req: Request, res: Response): Promise<void> {
    const notice = req.query.done === 'cancelled' ? 'Your address stays as it is.' : undefined;
    await pages.page(res, 'email', { ...(await emailPage(signedIn(res))), notice });
  }

  async function submitEmail(req: Request, res: Response): Promise<void> {
    const person = signedIn(res);
    const knownDevice = findDeviceForPassword(deviceCookies, req.headers.cookie, person.email);
    const from = { address: req.ip, knownDevice, source: auditSource(req, res) };
    const start = await startEmailChange(dependencies, person, req.body, from);
    noteOutcome(res, `email change ${start.outcome}`);
    if (start.outcome === 'asked') {
      if (isForm(req)) return res.redirect(303, '/account/email');
      res.status(202).set('Cache-Control', 'no-store').json({ status: 'check_your_email' });
      return;
    }
    if (!isForm(req)) throw startError(start);
    if (start.outcome === 'throttled') res.set('Retry-After', String(start.retryAfterSeconds));
    const { status, ...mend } = problemOf(start);
    const page = await emailPage(person);
    const wanted = { value: typedText(req.body?.email), ...mend.wrong('email') };
    const password = page.password && mend.wrong('password');
    await pages.page(res, 'email', { ...page, wanted, password, problem: mend.problem }, { status });
  }

  async function cancel(req: Request, res: Response): Promise<void> {
    await cancelEmailChange(db, encryption, signedIn(res).id, auditSource(req, res));
    if (isForm(req)) res.redirect(303, '/account/email?done=cancelled');
    else res.status(204).end();
  }

  async function emailPage({ id, email, emailVerified }: Account): Promise<PageData['email']> {
    const pending = await findPendingChange(db, encryption, id);
    const password = (await hasPassword(db, id)) ? {} : undefined;
    return { email, verified: emailVerified, pending, wanted: { value: '' }, password };
  }

  async function showQuestion(req: Request, res: Response): Promise<void> {
    const { token } = req.query;
    const question = await findEmailQuestion(dependencies, token);
    if (!question) return showAnswer(req, res, { outcome: 'lost' });
    const { about, oldEmail, newEmail } = question;
    const hidden = { token: String(token) };
    await pages.page(res, 'change-email', { about, action: '/auth/change-email', hidden, oldEmail, newEmail });
  }

  async function submitAnswer(req: Request, res: Response): Promise<void> {
    const { token, decision } = (req.body ?? {}) as { token?: unknown; decision?: unknown };
    const from = { address: req.ip, source: auditSource(req, res), stop: decision === 'stop' };
    const answer = await answerEmailQuestion(dependencies, token, from);
    noteOutcome(res, `email answer ${answer.outcome}`);
    if (answer.outcome === 'throttled') throw tooManyRequests(answer.retryAfterSeconds);
    if (isForm(req)) return showAnswer(req, res, answer);
    if (answer.outcome === 'lost') {
      throw new HttpError(400, 'invalid_token', 'This link has been used or has run out.');
    }
    if (answer.outcome === 'impossible') {
      throw new HttpError(409, 'change_impossible', 'This change can no longer be made.');
    }
    const { outcome: status, ...facts } = answer;
    const reset = 'resetToken' in facts ? { reset_token: facts.resetToken } : {};
    res.set('Cache-Control', 'no-store').json({ status, ...('email' in facts && { email: facts.email }), ...reset });
  }

  async function showAnswer(
    req: Request,
    res: Response,
    answer: Exclude<EmailAnswer, { outcome: 'throttled' }>,
  ): Promise<void> {
    const { outcome } = answer;
    if (outcome === 'lost' || outcome === 'impossible') {
      return pages.page(res, 'change-email-ended', { outcome }, { status: outcome === 'lost' ? 400 : 409 });
    }
    const data = {
      outcome,
      email: 'email' in answer ? answer.email : undefined,
      waitsFor: 'waitsFor' in answer ? answer.waitsFor : undefined,
      resetUrl: 'resetToken' in answer ? `/auth/reset-password?token=${answer.resetToken}` : undefined,
      signedIn: (await sessions.current(req, res)) !== undefined,
    };
    await pages.page(res, 'change-email-done', data);
  }

  return router;
}

type NotStarted = Exclude<EmailChangeStart, { outcome: 'asked' }>;

function problemOf(start: NotStarted) {
  if (start.outcome === 'throttled') {
    const problem = tooManyTries(start.retryAfterSeconds, undefined);
    return { status: 429, problem, wrong: () => ({}) };
  }
  const wrongPassword = { path: 'password', message: 'That’s not your password. Try again.' };
  return { status: 422, ...fieldProblems(start.outcome === 'rejected' ? [wrongPassword] : start.issues) };
}

/** The same failures for programs. */
function startError(start: NotStarted): HttpError {
  switch (start.outcome) {
    case 'invalid':
      return unacceptable(start.issues);
    case 'throttled':
      return tooManyRequests(start.retryAfterSeconds);
    case 'rejected':
      return new HttpError(401, 'invalid_credentials', 'That is not the current password.');
  }
}

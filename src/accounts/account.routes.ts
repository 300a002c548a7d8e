import { type NextFunction, type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { isForm, issuesOf, readBody } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { type Account, findActiveAccount } from './accounts.ts';
import { accountClaims } from './claims.ts';
import { fieldProblems, typedText } from './field-problems.ts';
import type { BrowserSession, SessionFunctions } from './login.routes.ts';
import { changeProfile, ProfileForm, profileFields } from './profile.ts';
import { isRecent } from './recent-sign-in.ts';
import { withReturnTo } from './return-to.ts';
import { findSignInMethods } from './sign-in-methods.ts';
import { findSignInNews } from './sign-in-news.ts';

export type AccountDependencies = {
  db: Database;
  pages: Pages;
  sessions: Pick<SessionFunctions, 'current'>;
  /** The public origin, `https://id.example`. */
  origin: string;
};

/** What the page after a change says has happened, by the value of `?done=`. */
const notices: Record<string, string> = {
  password: 'Your password is changed. Other browsers and connected apps have to sign in again.',
  saved: 'Your profile is saved.',
  'link-sent': 'We’ve sent you a new link.',
  'email-verified': 'Your email address is confirmed.',
};

export function accountRoutes(dependencies: AccountDependencies): Router {
  const { db, pages, origin } = dependencies;
  const account = requireAccount(dependencies);
  const router = Router();

  router.get('/account', account, showAccount);
  router.get('/account/security', account, showSecurity);
  router.get('/account/profile', account, showProfile);
  router.post('/account/profile', sameOrigin(origin), readBody, account, saveProfile);

  async function showAccount(req: Request, res: Response): Promise<void> {
    const { name, email, emailVerified } = signedIn(res);
    const session = sessionOf(res);
    // News of the sign-in, for as long as that is recent.
    const news = isRecent(session) ? await findSignInNews(db, session) : undefined;
    const notice = news?.kept
      ? 'Your account stays. It was going to be deleted, and signing in took that back.'
      : undefined;
    await pages.page(res, 'account', {
      name,
      email,
      emailVerified,
      tries: news?.tries,
      notice: notice ?? noticeOf(req, notices),
    });
  }

  async function showSecurity(_req: Request, res: Response): Promise<void> {
    const { id, email } = signedIn(res);
    const { twoStepSince, ...methods } = await findSignInMethods(db, id);
    await pages.page(res, 'account-security', { email, twoStep: twoStepSince !== undefined, ...methods });
  }

  async function showProfile(req: Request, res: Response): Promise<void> {
    await pages.page(res, 'profile', { fields: profileFields(signedIn(res)), notice: noticeOf(req, notices) });
  }

  async function saveProfile(req: Request, res: Response): Promise<void> {
    const form = ProfileForm.safeParse(req.body ?? {});
    if (form.success) {
      const account = await changeProfile(db, signedIn(res), form.data, auditSource(req, res));
      if (isForm(req)) return res.redirect(303, '/account/profile?done=saved');
      res.set('Cache-Control', 'no-store').json(accountClaims(account ?? signedIn(res)));
      return;
    }
    const issues = issuesOf(form.error);
    if (!isForm(req)) throw new HttpError(400, 'invalid_request', 'The profile is not acceptable.', { issues });
    const { problem, wrong } = fieldProblems(issues);
    const fields = Object.fromEntries(
      Object.entries(profileFields(signedIn(res))).map(([field, { value }]) => {
        const typed: unknown = req.body?.[field];
        return [field, { value: typed === undefined ? value : typedText(typed), ...wrong(field) }];
      }),
    );
    await pages.page(res, 'profile', { fields, problem }, { status: 422 });
  }

  return router;
}

/** Lets the signed-in person pass, who is `signedIn(res)` from then on; others sign in first and come back. */
export function requireAccount({ db, sessions }: { db: Database; sessions: Pick<SessionFunctions, 'current'> }) {
  return async (req: Request, res: Response, next: NextFunction): Promise<void> => {
    const session = await sessions.current(req, res);
    const account = session && (await findActiveAccount(db, session.accountId));
    if (account) {
      res.locals.account = account;
      res.locals.session = session;
      return next();
    }
    if (req.method === 'POST' && !isForm(req)) throw new HttpError(401, 'login_required', 'Sign in first.');
    res.redirect(303, withReturnTo('/auth/login', req.method === 'POST' ? '/account' : req.originalUrl));
  };
}

export function signedIn(res: Response): Account {
  return res.locals.account as Account;
}

/** The session that `requireAccount` found. */
export function sessionOf(res: Response): BrowserSession {
  return res.locals.session as BrowserSession;
}

/** The words for what `?done=` says has happened, if it says something known. */
export function noticeOf(req: Request, words: Readonly<Record<string, string>>): string | undefined {
  const { done } = req.query;
  return typeof done === 'string' && Object.hasOwn(words, done) ? words[done] : undefined;
}

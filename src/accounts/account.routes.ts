import { type NextFunction, type Request, type Response, Router } from 'express';
import type { AuditSource } from '../audit/events.ts';
import { auditSource } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { isForm, isPlainText, issuesOf, readBody } from '../http/body.ts';
import { HttpError, notFound } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { type Account, findActiveAccount, updateProfile } from './accounts.ts';
import { accountClaims } from './claims.ts';
import { fieldProblems, typedText } from './field-problems.ts';
import type { SessionFunctions } from './login.routes.ts';
import { ProfileForm, profileFields } from './profile.ts';
import { withReturnTo } from './return-to.ts';

/** A client that the person allowed something, as the account pages list it. */
export type ConnectedApp = {
  clientId: string;
  name: string;
  /** A path on this origin. */
  logoUrl?: string | undefined;
  since: Date;
  /** In plain words. */
  scopes: string[];
};

export type AccountDependencies = {
  db: Database;
  pages: Pages;
  sessions: Pick<SessionFunctions, 'current' | 'signOut'>;
  /** The public origin, `https://id.example`. */
  origin: string;
  connectedApps(accountId: string): Promise<ConnectedApp[]>;
  /** Withdraws what the account allowed the client, tokens included. */
  disconnectApp(accountId: string, clientId: string): Promise<void>;
  /** Ends every session of the account and everything that clients hold for it. */
  signOutEverywhere(accountId: string, source: AuditSource): Promise<void>;
};

/** What the page after a change says has happened, by the value of `?done=`. */
const notices: Record<string, string> = {
  disconnected: 'That app is no longer connected.',
  password: 'Your password is changed. Other browsers and connected apps have to sign in again.',
  saved: 'Your profile is saved.',
};

export function accountRoutes(dependencies: AccountDependencies): Router {
  const { db, pages, sessions, origin, connectedApps, disconnectApp, signOutEverywhere } = dependencies;
  const ownPages = sameOrigin(origin);
  const account = requireAccount(dependencies);
  const router = Router();

  router.get('/account', account, showAccount);
  router.get('/account/profile', account, showProfile);
  router.post('/account/profile', ownPages, readBody, account, saveProfile);
  router.post('/account/apps/:client_id/disconnection', ownPages, readBody, account, disconnect);
  router.post('/account/sign-out', ownPages, readBody, account, endSessions);

  async function showAccount(req: Request, res: Response): Promise<void> {
    const { id, name, email, emailVerified } = signedIn(res);
    const apps = await connectedApps(id);
    await pages.page(res, 'account', { name, email, emailVerified, apps, notice: noticeOf(req) });
  }

  async function showProfile(req: Request, res: Response): Promise<void> {
    await pages.page(res, 'profile', { fields: profileFields(signedIn(res)), notice: noticeOf(req) });
  }

  async function saveProfile(req: Request, res: Response): Promise<void> {
    const form = ProfileForm.safeParse(req.body ?? {});
    if (form.success) {
      const account = await updateProfile(db, signedIn(res).id, form.data);
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

  async function disconnect(req: Request<{ client_id: string }>, res: Response): Promise<void> {
    // What PostgreSQL cannot even compare is no client's id.
    if (!isPlainText(req.params.client_id)) throw notFound();
    await disconnectApp(signedIn(res).id, req.params.client_id);
    if (isForm(req)) res.redirect(303, '/account?done=disconnected');
    else res.status(204).end();
  }

  async function endSessions(req: Request, res: Response): Promise<void> {
    await signOutEverywhere(signedIn(res).id, auditSource(req, res));
    await sessions.signOut(req, res);
    if (isForm(req)) res.redirect(303, '/');
    else res.status(204).end();
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
      return next();
    }
    if (req.method === 'POST' && !isForm(req)) throw new HttpError(401, 'login_required', 'Sign in first.');
    res.redirect(303, withReturnTo('/auth/login', req.method === 'POST' ? '/account' : req.originalUrl));
  };
}

export function signedIn(res: Response): Account {
  return res.locals.account as Account;
}

function noticeOf(req: Request): string | undefined {
  const { done } = req.query;
  return typeof done === 'string' && Object.hasOwn(notices, done) ? notices[done] : undefined;
}

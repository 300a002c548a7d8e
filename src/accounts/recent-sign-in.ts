/**
 * What changes how an account is entered, or takes it away, asks for a sign-in of the last minutes (SECURITY 56): a
 * browser left open, or a stolen session, is not enough. Where the question is put is recent-sign-in.routes.ts.
 */
import { isForm } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';
import { wantsPage } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import type { BrowserSession } from './login.routes.ts';
import { safeReturnTo } from './return-to.ts';

type Guard = ReturnType<RateLimit>;
type Request = Parameters<Guard>[0];

/** How long a sign-in is recent. */
const recentMs = 10 * 60 * 1000;

export function isRecent({ loginAt }: Pick<BrowserSession, 'loginAt'>, now = Date.now()): boolean {
  return now - loginAt.getTime() <= recentMs;
}

/**
 * Stands behind `requireAccount`, on pages and forms alike: `router.get(path, account, requireRecentSignIn, show)`.
 * Lets a recent sign-in pass. A person whose sign-in is older proves who they are at /auth/confirm and comes back, after
 * a POST to the page that the form was on; programs get 401 `recent_sign_in_required`.
 */
export const requireRecentSignIn: Guard = (req, res, next) => {
  if (isRecent(res.locals.session as BrowserSession)) return next();
  if (!wantsPage(req)) {
    throw new HttpError(401, 'recent_sign_in_required', 'Sign in again first, or confirm it at /auth/confirm.');
  }
  res.redirect(303, confirmUrl(req.method === 'GET' ? req.originalUrl : pageOf(req), isForm(req)));
};

/** @param unsent whether a form was sent that has to be sent again */
function confirmUrl(returnTo: string, unsent: boolean): string {
  const query = new URLSearchParams({ return_to: returnTo, ...(unsent && { unsent: 'yes' }) });
  return `/auth/confirm?${query}`;
}

/** The page that a form was on, as the browser says; only its path counts, so it leads nowhere else. */
function pageOf(req: Request): string {
  const { referer } = req.headers;
  if (referer === undefined || !URL.canParse(referer)) return '/account';
  const { pathname, search } = new URL(referer);
  return (pathname.startsWith('/account') && safeReturnTo(pathname + search)) || '/account';
}

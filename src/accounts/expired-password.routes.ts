import { type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import { isForm, readBody } from '../http/body.ts';
import { type Issue, unacceptable } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { type ExpiredPasswordDependencies, replaceExpiredPassword } from './expired-password.ts';
import { newPasswordPage } from './new-password-page.ts';
import type { Shown, SignInPlace, SignInSteps } from './sign-in-steps.routes.ts';

export type ExpiredPasswordPages = ReturnType<typeof expiredPasswordPages>;

/** The step of a sign-in in which a password that may not be used any longer is replaced, wherever it takes place. */
export function expiredPasswordPages(dependencies: ExpiredPasswordDependencies & { pages: Pages; steps: SignInSteps }) {
  const { pages, steps } = dependencies;

  async function show(req: Request, res: Response, place: SignInPlace): Promise<void> {
    const shown = await dueStep(req, place);
    if (!shown) return steps.lost(req, res, place);
    await send(res, place, shown);
  }

  async function submit(req: Request, res: Response, place: SignInPlace): Promise<void> {
    const shown = await dueStep(req, place);
    if (!shown) return steps.lost(req, res, place);
    const replaced = await replaceExpiredPassword(dependencies, shown.account, req.body, auditSource(req, res));
    noteOutcome(res, `expired password ${replaced.outcome}`);
    if (replaced.outcome === 'lost') return steps.lost(req, res, place);
    if (replaced.outcome === 'invalid') {
      const { issues } = replaced;
      if (isForm(req)) return send(res, place, shown, issues);
      throw unacceptable(issues);
    }
    // What was shown was shown of the account as it was; it is the same person who has changed it.
    const { amr, progress } = shown;
    await steps.advance(req, res, place, { account: replaced.account, amr, progress });
  }

  /** Only when its turn has come: never before the second factor. */
  async function dueStep(req: Request, place: SignInPlace): Promise<Shown | undefined> {
    const shown = await steps.shownSoFar(req, place);
    return shown?.progress && (await steps.stepOf(req, shown)) === 'change-password' ? shown : undefined;
  }

  async function send(res: Response, place: SignInPlace, { account }: Shown, issues?: readonly Issue[]): Promise<void> {
    const { path, client, hidden, formAction } = place;
    const action = `${path}/change-password`;
    const { status, data } = newPasswordPage(
      { about: 'expired', action, client, email: account.email, hidden },
      issues,
    );
    await pages.page(res, 'new-password', data, { status, ...(formAction && { formAction }) });
  }

  return { show, submit };
}

/** The step in a sign-in that no client asked for. */
export function expiredPasswordRoutes({
  expiredPassword,
  rateLimit,
  origin,
  placeOf,
}: {
  expiredPassword: ExpiredPasswordPages;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  /** The sign-in page's own place, for this request. */
  placeOf(req: Request, res: Response): SignInPlace;
}): Router {
  const router = Router();
  const limit = rateLimit('sign-in', 60);
  router.get('/auth/change-password', (req, res) => expiredPassword.show(req, res, placeOf(req, res)));
  router.post('/auth/change-password', sameOrigin(origin), limit, readBody, (req, res) =>
    expiredPassword.submit(req, res, placeOf(req, res)),
  );
  return router;
}

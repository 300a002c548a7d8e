import { type Request, type Response, Router } from 'express';
import { z } from 'zod';
import { auditSource, record } from '../audit/record.ts';
import { isForm, issuesOf, readBody } from '../http/body.ts';
import { HttpError, type Issue, tooManyRequests, unacceptable } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { noStore } from '../http/security-headers.ts';
import { requireAccount, sessionOf, signedIn } from './account.routes.ts';
import type { Authenticate } from './authenticate.ts';
import { type Confirmation, confirmPage } from './confirm-page.ts';
import { type DeviceCookies, findKnownDevice } from './known-device.ts';
import { rememberDevice, type SessionFunctions } from './login.routes.ts';
import { isPasskeyAnswer, type PasskeySteps, type PasskeyUse } from './passkey-step.ts';
import { isRecent } from './recent-sign-in.ts';
import { returnToOf } from './return-to.ts';
import { type CodeDependencies, judgeCode } from './second-factors.ts';
import { findSignInMethods } from './sign-in-methods.ts';
import { LoginForm } from './sign-in-page.ts';

export type ConfirmDependencies = CodeDependencies & {
  pages: Pages;
  sessions: Pick<SessionFunctions, 'current' | 'renew'>;
  authenticate: Authenticate;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  deviceCookies: DeviceCookies;
  passkeys: PasskeySteps;
};

const PasswordForm = z.object({ password: LoginForm.shape.password });
const ConfirmForm = z.union([z.object({ code: z.string().max(128) }), PasswordForm]);

type Confirmed = { outcome: 'confirmed'; amr: readonly string[]; stillStands?: (() => Promise<boolean>) | undefined };

/** Where a signed-in person proves again who they are. The session stays the same one under a new id (SECURITY 31). */
export function confirmRoutes(dependencies: ConfirmDependencies): Router {
  const { db, pages, sessions, authenticate, rateLimit, origin, deviceCookies, passkeys } = dependencies;
  const own = sameOrigin(origin);
  const account = requireAccount(dependencies);
  const router = Router();

  router.get('/auth/confirm', account, showConfirm);
  // A password is judged here, so these tries and those at sign-in are one count.
  router.post('/auth/confirm', own, rateLimit('sign-in', 60), readBody, account, submitConfirm);
  router.post('/auth/confirm/passkey-options', own, rateLimit('passkey-options', 120), readBody, account, offerPasskey);

  async function showConfirm(req: Request, res: Response): Promise<void> {
    if (isRecent(sessionOf(res))) return res.redirect(303, returnToOf(req) ?? '/account');
    await showPage(req, res);
  }

  async function submitConfirm(req: Request, res: Response): Promise<void> {
    const outcome = await judge(req, res);
    noteOutcome(res, `confirmation ${outcome.outcome}`);
    if (outcome.outcome === 'confirmed') return confirmed(req, res, outcome);
    if (!isForm(req)) throw confirmError(outcome);
    if (outcome.outcome === 'throttled') res.set('Retry-After', String(outcome.retryAfterSeconds));
    await showPage(req, res, outcome);
  }

  async function confirmed(req: Request, res: Response, { amr, stillStands }: Confirmed): Promise<void> {
    const { id, email } = signedIn(res);
    const session = sessionOf(res);
    rememberDevice(deviceCookies, req, res, email);
    await sessions.renew(req, res, session, [...new Set([...session.amr, ...amr])], stillStands);
    await record(db, {
      event: 'login.confirmed',
      accountId: id,
      sessionUid: session.uid,
      source: auditSource(req, res),
      details: { amr },
    });
    if (isForm(req)) res.redirect(303, returnToOf(req) ?? '/account');
    else res.status(204).end();
  }

  async function judge(req: Request, res: Response): Promise<Confirmed | Confirmation> {
    const { id, email } = signedIn(res);
    const source = auditSource(req, res);
    const knownDevice = findKnownDevice(deviceCookies, req.headers.cookie, email);
    if (isPasskeyAnswer(req.body)) {
      const judged = await passkeys.judge(req, source, passkeyUse(res));
      return judged.outcome === 'authenticated' ? { ...judged, outcome: 'confirmed' } : judged;
    }
    const form = ConfirmForm.safeParse(req.body ?? {});
    if (!form.success) return { outcome: 'invalid', issues: issuesOfPassword(req.body) };
    if ('code' in form.data) {
      const judged = await judgeCode(dependencies, signedIn(res), form.data.code, { source, knownDevice });
      if (judged.outcome === 'verified') return { outcome: 'confirmed', amr: judged.amr };
      return judged.outcome === 'rejected' ? { outcome: 'code-rejected' } : judged;
    }
    // Whoever took over a session and knows the password must not get to turn two-step verification off with these two.
    if ((await findSignInMethods(db, id)).twoStepSince) return { outcome: 'code-needed' };
    const judged = await authenticate({ email, password: form.data.password, address: req.ip, knownDevice, source });
    if (judged.outcome !== 'authenticated') return judged;
    // The address may have become somebody else's since the account was read.
    if (judged.account.id !== id) return { outcome: 'rejected' };
    return { outcome: 'confirmed', amr: ['pwd'], stillStands: judged.stillStands };
  }

  async function offerPasskey(req: Request, res: Response): Promise<void> {
    noStore(res);
    res.json(await passkeys.options(req, res, passkeyUse(res)));
  }

  async function showPage(req: Request, res: Response, problem?: Confirmation): Promise<void> {
    const { id, email } = signedIn(res);
    const found = await findSignInMethods(db, id);
    const methods = { ...found, passkeys: passkeys.available ? found.passkeys : 0 };
    const place = { email, methods, returnTo: returnToOf(req), unsent: isUnsent(req) };
    const { status, data } = confirmPage(place, problem);
    await pages.page(res, 'confirm', data, { status });
  }

  return router;
}

/** Of a body that holds nothing to be judged: the password is what is asked for. */
function issuesOfPassword(body: unknown): Issue[] {
  const form = PasswordForm.safeParse(body ?? {});
  return form.success ? [] : issuesOf(form.error);
}

/** A browser that was left open may have its device beside it, so the device has to ask who is there. */
function passkeyUse(res: Response): PasskeyUse {
  return { purpose: 'second-factor', accountId: signedIn(res).id, verifyUser: true };
}

function isUnsent(req: Request): boolean {
  return req.query.unsent === 'yes' || req.body?.unsent === 'yes';
}

/** The same failures for programs. */
function confirmError(outcome: Confirmation): HttpError {
  switch (outcome.outcome) {
    case 'invalid':
      return unacceptable(outcome.issues);
    case 'throttled':
      return tooManyRequests(outcome.retryAfterSeconds);
    case 'suspended':
    case 'rejected':
      return new HttpError(401, 'invalid_credentials', 'That is not the password of this account.');
    case 'code-needed':
      return new HttpError(
        401,
        'second_factor_required',
        'Confirm with a code: this account has two-step verification.',
      );
    case 'code-rejected':
      return new HttpError(401, 'invalid_code', 'That did not work. Send the newest code.');
    case 'passkey-rejected':
      return new HttpError(401, 'invalid_credentials', 'That passkey did not work here.');
  }
}

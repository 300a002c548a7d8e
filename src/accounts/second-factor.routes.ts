import { type Request, type Response, Router } from 'express';
import { z } from 'zod';
import { auditSource } from '../audit/record.ts';
import { isForm, parse, readBody } from '../http/body.ts';
import { HttpError, tooManyRequests } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { noStore } from '../http/security-headers.ts';
import type { Problem } from '../http/views.ts';
import { findKnownDevice } from './known-device.ts';
import { type LoginPlaceDependencies, loginPlace } from './login.routes.ts';
import { isPasskeyAnswer, type PasskeySteps, type PasskeyUse } from './passkey-step.ts';
import { fewRecoveryCodes } from './recovery-codes.ts';
import { rememberBrowser } from './remembered-devices.ts';
import {
  type CodeDependencies,
  type CodeJudgement,
  findSecondFactors,
  hasSecondFactor,
  judgeCode,
} from './second-factors.ts';
import { passkeyFailed, waitInWords } from './sign-in-page.ts';
import { withSecondFactor } from './sign-in-progress.ts';
import {
  createSignInSteps,
  type Shown,
  type SignInPlace,
  type SignInStepDependencies,
  type SignInSteps,
  stepUrl,
} from './sign-in-steps.routes.ts';
import { type TwoStepRoutesDependencies, twoStepRoutes } from './two-step.routes.ts';

export type SecondFactorDependencies = CodeDependencies &
  SignInStepDependencies & { pages: Pages; steps: SignInSteps; passkeys: PasskeySteps };

/** Longer than any code with all its spaces and dashes. */
const longestCode = 128;

const remember = z.union([z.literal('1').transform(() => true), z.boolean()]).default(false);

const CodeForm = z.object({
  code: z.string({ error: 'Enter a code.' }).trim().min(1, 'Enter a code.').max(longestCode, 'That’s no code.'),
  remember,
});

/** The rest of it is judged by whoever knows passkeys. */
const PasskeyForm = z.object({ remember });

const codeFailed = { wrong: 'That code didn’t work. Enter the newest one your app shows.' };

/** Where the page asks for a passkey's question, below the place of the sign-in. */
export const passkeyOptionsPath = '/second-factor/passkey-options';

/** A passkey that was the first factor, too, has to verify its person to be another one. */
function passkeyUseAfter({ account, amr }: Shown): PasskeyUse {
  return { purpose: 'second-factor', accountId: account.id, verifyUser: amr.includes('pop') };
}

/** What signing in needs after the first factor, wherever people sign in. */
export function createFurtherSteps(dependencies: Omit<SecondFactorDependencies, 'steps'>) {
  const steps = createSignInSteps(dependencies);
  return {
    steps,
    secondFactor: secondFactorPages({ ...dependencies, steps }),
    hasSecondFactor: (accountId: string) => hasSecondFactor(dependencies.db, accountId),
  };
}

export type SecondFactorPages = ReturnType<typeof secondFactorPages>;

/** The second step of a sign-in, wherever it takes place. */
function secondFactorPages({ pages, steps, deviceCookies, passkeys, ...dependencies }: SecondFactorDependencies) {
  const { db } = dependencies;

  async function show(req: Request, res: Response, place: SignInPlace): Promise<void> {
    const shown = await steps.shownSoFar(req, place);
    if (!shown) return steps.lost(req, res, place);
    await send(req, res, place, shown);
  }

  async function submit(req: Request, res: Response, place: SignInPlace): Promise<void> {
    const shown = await steps.shownSoFar(req, place);
    if (!shown) return steps.lost(req, res, place);
    const form = (isPasskeyAnswer(req.body) ? PasskeyForm : CodeForm).safeParse(req.body ?? {});
    if (!form.success) {
      if (!isForm(req)) parse(CodeForm, req.body);
      return send(req, res, place, shown, { wrong: form.error.issues[0]?.message });
    }
    const judged = await judge(req, res, shown, 'code' in form.data ? String(form.data.code) : '');
    noteOutcome(res, `second factor ${judged.outcome}`);
    if (judged.outcome === 'throttled') {
      if (!isForm(req)) throw tooManyRequests(judged.retryAfterSeconds);
      res.set('Retry-After', String(judged.retryAfterSeconds));
      return send(req, res, place, shown, { problem: pause(judged.retryAfterSeconds) }, 429);
    }
    if (judged.outcome === 'rejected') {
      if (!isForm(req)) throw new HttpError(401, 'invalid_code', 'That did not work. Send the newest code.');
      return send(req, res, place, shown, isPasskeyAnswer(req.body) ? { problem: passkeyFailed } : codeFailed);
    }
    const { recoveryCodesLeft: left } = judged;
    await steps.advance(
      req,
      res,
      place,
      { ...shown, amr: withSecondFactor(shown.amr, judged.amr) },
      {
        beforeSession: () => (form.data.remember && !place.session ? rememberHere(req, res, shown) : undefined),
        ...(left !== undefined && { json: { recovery_codes_left: left } }),
        ...(left !== undefined && left <= fewRecoveryCodes && { leave: (location) => tellFew(res, left, location) }),
      },
    );
  }

  async function judge(req: Request, res: Response, shown: Shown, code: string): Promise<CodeJudgement> {
    const source = auditSource(req, res);
    const { account } = shown;
    if (isPasskeyAnswer(req.body)) {
      const judged = await passkeys.judge(req, source, passkeyUseAfter(shown));
      if (judged.outcome === 'authenticated') return { outcome: 'verified', amr: judged.amr };
      return judged.outcome === 'throttled' ? judged : { outcome: 'rejected' };
    }
    const knownDevice = findKnownDevice(deviceCookies, req.headers.cookie, account.email);
    return judgeCode(dependencies, account, code, { source, knownDevice });
  }

  async function rememberHere(req: Request, res: Response, { account }: Shown): Promise<void> {
    const browser = { cookieHeader: req.headers.cookie, secure: deviceCookies.secure };
    const { name, value, options } = await rememberBrowser(db, account.id, browser, auditSource(req, res));
    res.cookie(name, value, options);
  }

  /** What the browser is to ask a passkey of the account. */
  async function offerPasskey(req: Request, res: Response, place: SignInPlace): Promise<void> {
    const shown = await steps.shownSoFar(req, place);
    if (!shown) throw new HttpError(401, 'login_required', 'Start this sign-in again.');
    noStore(res);
    res.json(await passkeys.options(req, res, passkeyUseAfter(shown)));
  }

  async function send(
    req: Request,
    res: Response,
    place: SignInPlace,
    { account }: Shown,
    mend: { wrong?: string | undefined; problem?: Problem } = {},
    status = mend.wrong || mend.problem ? 422 : 200,
  ): Promise<void> {
    const factors = await findSecondFactors(db, account.id);
    const wantsRecovery = req.query.with === 'recovery-code' && factors.recoveryCodes > 0;
    const other = { ...place, hidden: { ...place.hidden, ...(!wantsRecovery && { with: 'recovery-code' }) } };
    await pages.page(
      res,
      'second-factor',
      {
        action: place.path + (wantsRecovery ? '/second-factor?with=recovery-code' : '/second-factor'),
        client: place.client,
        email: account.email,
        asks: !factors.totp ? 'passkey' : wantsRecovery ? 'recovery-code' : 'totp',
        code: { value: '', wrong: mend.wrong },
        passkey:
          passkeys.available && factors.passkeys > 0 ? { options: `${place.path}${passkeyOptionsPath}` } : undefined,
        problem: mend.problem ?? (mend.wrong ? { title: mend.wrong } : undefined),
        hidden: place.hidden,
        remember: !place.session,
        otherUrl: factors.totp && factors.recoveryCodes > 0 ? stepUrl(other, 'second-factor') : undefined,
        cancel: place.cancel,
        anotherUrl: place.cancel ? undefined : stepUrl(place, 'login'),
      },
      { status, ...(place.formAction && { formAction: place.formAction }) },
    );
  }

  /** Once, after the sign-in that used one up. */
  async function tellFew(res: Response, left: number, continueUrl: string): Promise<void> {
    await pages.page(res, 'few-recovery-codes', { left, continueUrl, renewUrl: '/account/two-step' });
  }

  return { show, submit, offerPasskey };
}

function pause(retryAfterSeconds: number): Problem {
  return { title: 'Too many tries.', text: `${waitInWords(retryAfterSeconds)}, then try again with a new code.` };
}

export type SecondFactorRoutesDependencies = LoginPlaceDependencies &
  TwoStepRoutesDependencies & {
    secondFactor: SecondFactorPages;
    rateLimit: RateLimit;
    /** The public origin, `https://id.example`. */
    origin: string;
  };

/** The second step of a sign-in that no client asked for, and the pages on which people set it up. */
export function secondFactorRoutes(dependencies: SecondFactorRoutesDependencies): Router {
  const { secondFactor, rateLimit, origin } = dependencies;
  const placeOf = (req: Request, res: Response) => loginPlace(dependencies, req, res);
  const router = Router();
  router.use(twoStepRoutes(dependencies));
  router.get('/auth/second-factor', (req, res) => secondFactor.show(req, res, placeOf(req, res)));
  router.post('/auth/second-factor', sameOrigin(origin), rateLimit('sign-in', 60), readBody, (req, res) =>
    secondFactor.submit(req, res, placeOf(req, res)),
  );
  router.post(
    `/auth${passkeyOptionsPath}`,
    sameOrigin(origin),
    rateLimit('passkey-options', 120),
    readBody,
    (req, res) => secondFactor.offerPasskey(req, res, placeOf(req, res)),
  );
  return router;
}

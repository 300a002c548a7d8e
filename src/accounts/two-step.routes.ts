import { type Request, type Response, Router } from 'express';
import { z } from 'zod';
import { auditSource } from '../audit/record.ts';
import { isForm, parse, readBody } from '../http/body.ts';
import { HttpError, notFound } from '../http/errors.ts';
import { type Pages, wantsPage } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { noStore } from '../http/security-headers.ts';
import { describeUserAgent } from '../lib/user-agent.ts';
import { noticeOf, requireAccount, sessionOf, signedIn } from './account.routes.ts';
import type { DeviceCookies } from './known-device.ts';
import type { SessionFunctions } from './login.routes.ts';
import { requireRecentSignIn } from './recent-sign-in.ts';
import { readRecoveryCode } from './recovery-codes.ts';
import { forgetBrowsers, listRememberedDevices } from './remembered-devices.ts';
import { returnToOf, withReturnTo } from './return-to.ts';
import { findSignInMethods } from './sign-in-methods.ts';
import { withSecondFactor } from './sign-in-progress.ts';
import { keyUri, newTotpSetUp, readTotpSetUp } from './totp.ts';
import { qrCode } from './totp-qr.ts';
import { renewRecoveryCodes, type TwoStepDependencies, turnOffTwoStep, turnOnTwoStep } from './two-step.ts';

export type TwoStepRoutesDependencies = TwoStepDependencies & {
  pages: Pages;
  sessions: Pick<SessionFunctions, 'current' | 'renew'>;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  /** What authenticator apps call this server. */
  brandName: string;
  deviceCookies: Pick<DeviceCookies, 'secure'>;
};

const path = '/account/two-step';

/** What the page after a change says has happened, by the value of `?done=`. */
const notices: Record<string, string> = {
  on: 'Two-step sign-in is on.',
  off: 'Two-step sign-in is off. Your password alone signs you in.',
  renewed: 'You have new recovery codes. Those before don’t work any more.',
  forgotten: 'We’ll ask for a code there again.',
};

/** `set_up` is the sealed secret of the page; it comes back with the first code. */
const SetUpForm = z.object({ set_up: z.string(), code: z.string().max(128).default('') });
const FileForm = z.object({ code: z.union([z.string().transform((one) => [one]), z.array(z.string())]) });

/** The person's own pages for the second step: setting it up, recovery codes, remembered browsers, turning it off. */
export function twoStepRoutes(dependencies: TwoStepRoutesDependencies): Router {
  const { db, encryption, pages, sessions, rateLimit, origin, brandName } = dependencies;
  const { secure } = dependencies.deviceCookies;
  const account = requireAccount(dependencies);
  const post = [sameOrigin(origin), rateLimit('two-step', 30), readBody, account];
  const router = Router();

  router.get(path, account, showTwoStep);
  router.get(`${path}/set-up`, account, requireRecentSignIn, showSetUp);
  router.post(`${path}/set-up`, ...post, requireRecentSignIn, submitSetUp);
  router.post(`${path}/removal`, ...post, requireRecentSignIn, turnOff);
  // Where a page that answered a form is loaded again.
  router.get(`${path}/recovery-codes`, account, (_req, res) => res.redirect(303, path));
  router.post(`${path}/recovery-codes`, ...post, requireRecentSignIn, renewCodes);
  router.post(`${path}/recovery-codes/file`, ...post, sendFile);
  router.post(`${path}/browsers/:handle/removal`, ...post, forget);

  async function showTwoStep(req: Request, res: Response): Promise<void> {
    const { id } = signedIn(res);
    const { twoStepSince, recoveryCodesLeft } = await findSignInMethods(db, id);
    const devices = await listRememberedDevices(db, id, { cookieHeader: req.headers.cookie, secure });
    await pages.page(res, 'two-step', {
      since: twoStepSince,
      recoveryCodesLeft,
      browsers: devices.map(({ handle, userAgent, here, ...device }) => ({
        ...device,
        device: describeUserAgent(userAgent).words,
        kind: describeUserAgent(userAgent).kind,
        own: here,
        forgetUrl: `${path}/browsers/${handle}/removal`,
      })),
      notice: noticeOf(req, notices),
    });
  }

  async function showSetUp(req: Request, res: Response): Promise<void> {
    const { id, email } = signedIn(res);
    const setUp = newTotpSetUp(encryption, id);
    if (wantsPage(req)) return sendSetUp(req, res, setUp);
    noStore(res);
    const { sealed, secret } = setUp;
    res.json({ set_up: sealed, secret, key_uri: keyUri(secret, { issuer: brandName, email }) });
  }

  async function submitSetUp(req: Request, res: Response): Promise<void> {
    const { set_up: sealed, code } = parse(SetUpForm, req.body);
    const person = signedIn(res);
    const secret = readTotpSetUp(encryption, person.id, sealed);
    if (secret === undefined) {
      if (!isForm(req)) throw new HttpError(400, 'invalid_request', 'That set-up has run out. Begin again.');
      const problem = { title: 'That code has run out.', text: 'Here’s a new one. Take a picture of it once more.' };
      return sendSetUp(req, res, newTotpSetUp(encryption, person.id), { problem });
    }
    const codes = await turnOnTwoStep(dependencies, person, { secret, typed: code }, auditSource(req, res));
    noteOutcome(res, `two-step set-up ${codes ? 'confirmed' : 'rejected'}`);
    if (codes === undefined) {
      if (!isForm(req)) throw new HttpError(401, 'invalid_code', 'That code did not work. Send the newest one.');
      return sendSetUp(
        req,
        res,
        { sealed, secret },
        { wrong: 'That code didn’t work. Enter the newest one your app shows.' },
      );
    }
    const session = sessionOf(res);
    await sessions.renew(req, res, session, withSecondFactor(session.amr, ['otp']));
    await sendCodes(req, res, codes, returnToOf(req) ?? `${path}?done=on`);
  }

  async function sendSetUp(
    req: Request,
    res: Response,
    { sealed, secret }: { sealed: string; secret: string },
    mend: { wrong?: string; problem?: { title: string; text: string } } = {},
  ): Promise<void> {
    const returnTo = returnToOf(req);
    const uri = keyUri(secret, { issuer: brandName, email: signedIn(res).email });
    const problem = mend.problem ?? (mend.wrong === undefined ? undefined : { title: mend.wrong });
    await pages.page(
      res,
      'two-step-set-up',
      {
        action: withReturnTo(`${path}/set-up`, returnTo),
        qr: qrCode(uri),
        keyUri: uri,
        key: secret.match(/.{1,4}/g)?.join(' ') ?? secret,
        code: { value: '', wrong: mend.wrong },
        problem,
        hidden: { set_up: sealed },
        cancelUrl: returnTo ?? path,
      },
      { status: problem ? 422 : 200 },
    );
  }

  async function turnOff(req: Request, res: Response): Promise<void> {
    const removed = await turnOffTwoStep(dependencies, signedIn(res), auditSource(req, res));
    noteOutcome(res, `two-step ${removed ? 'removed' : 'was off'}`);
    done(req, res, 'off');
  }

  async function renewCodes(req: Request, res: Response): Promise<void> {
    const codes = await renewRecoveryCodes(dependencies, signedIn(res), auditSource(req, res));
    if (codes) return sendCodes(req, res, codes, `${path}?done=renewed`);
    if (!isForm(req))
      throw new HttpError(409, 'two_step_off', 'Recovery codes come with two-step sign-in, which is off.');
    res.redirect(303, path);
  }

  async function sendCodes(req: Request, res: Response, codes: string[], continueUrl: string): Promise<void> {
    if (isForm(req)) {
      return pages.page(res, 'recovery-codes', { codes, email: signedIn(res).email, at: new Date(), continueUrl });
    }
    noStore(res);
    res.json({ recovery_codes: codes });
  }

  /** Gives back as a file what the page shows, without script: codes and nothing else, and only to who sent them. */
  async function sendFile(req: Request, res: Response): Promise<void> {
    const { code: codes } = parse(FileForm, req.body);
    if (codes.length > 20 || codes.some((code) => readRecoveryCode(code) === undefined)) throw notFound();
    noStore(res);
    const host = new URL(origin).host;
    const lines = [`Recovery codes of ${signedIn(res).email} at ${host}`, 'Each one works once.', '', ...codes, ''];
    res.attachment('recovery-codes.txt').type('text/plain; charset=utf-8').send(lines.join('\r\n'));
  }

  async function forget(req: Request<{ handle: string }>, res: Response): Promise<void> {
    const { handle } = req.params;
    if (!/^[\w-]{16}$/.test(handle)) throw notFound();
    await forgetBrowsers(db, signedIn(res).id, { handle, source: auditSource(req, res) });
    done(req, res, 'forgotten');
  }

  return router;
}

function done(req: Request, res: Response, what: string): void {
  if (isForm(req)) res.redirect(303, `${path}?done=${what}`);
  else res.status(204).end();
}

/**
 * From a first factor to a session. Whoever judged a password or a passkey hands it to `advance`, which makes the
 * session when nothing is left, and else keeps what was shown and sends the browser to the next step. A step asks
 * `shownSoFar`, does its work and hands everything to `advance` again: no step knows another.
 */
import type { Request, Response } from 'express';
import type { Database } from '../db/database.ts';
import { isForm } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';
import { noStore } from '../http/security-headers.ts';
import type { ClientTile, Hidden, Problem } from '../http/views.ts';
import type { Encryption } from '../keys/encryption.ts';
import { type Account, findAccount } from './accounts.ts';
import { type DeviceCookies, knownDeviceCookie } from './known-device.ts';
import { isRemembered } from './remembered-devices.ts';
import { findSecondFactors, secondFactorMethods } from './second-factors.ts';
import {
  accountStateOf,
  claimProgress,
  endedProgressCookie,
  nextSignInStep,
  progressCookie,
  readProgress,
  type SignInProgress,
  type SignInStep,
} from './sign-in-progress.ts';

/** Where a sign-in takes place: on its own, or within a client's request. Made anew for each request. */
export type SignInPlace = {
  /** `/auth` or `/auth/interaction/:uid`: every step is below it. */
  path: string;
  /** What each step's form and address carry on, such as `return_to`. */
  hidden: Hidden;
  /** Who asked for the sign-in, and what its forms need in their pages' policy. */
  client?: ClientTile | undefined;
  formAction?: readonly (string | undefined)[] | undefined;
  /** Where to say no to the client. */
  cancel?: { action: string } | undefined;
  /** Who is signed in here and only has to show a second factor: a step-up, which no earlier step precedes. */
  session?: Shown | undefined;
  /** Makes the session. Answers where the browser goes on and what a program is told. */
  signIn(login: Shown): Promise<{ location: string; json: object }>;
  /** Answers with the sign-in page, for a step that cannot go on. */
  startAgain(problem: Problem, status: number): Promise<void>;
};

/** Who it is, and what was shown of them so far (RFC 8176). */
export type Shown = {
  account: Account;
  amr: readonly string[];
  /** False when what was shown proves nothing any more; it waits for a change under way. */
  stillStands?: (() => Promise<boolean>) | undefined;
  /** The session in which it was shown, which then goes on. */
  renews?: string | undefined;
  /** What this browser held when the step began. */
  progress?: SignInProgress | undefined;
};

export type Leaving = {
  /** Done once nothing can come in between any more. */
  beforeSession?: (() => Promise<void> | undefined) | undefined;
  /** Answers a form instead of sending the browser to where it goes on. */
  leave?: ((location: string) => Promise<void>) | undefined;
  /** Told a program as well. */
  json?: object | undefined;
};

export type SignInStepDependencies = { db: Database; encryption: Encryption; deviceCookies: DeviceCookies };

export type SignInSteps = ReturnType<typeof createSignInSteps>;

export function createSignInSteps({ db, encryption, deviceCookies }: SignInStepDependencies) {
  const { secure } = deviceCookies;

  /** Signs in, or asks for what is still missing. */
  async function advance(
    req: Request,
    res: Response,
    place: SignInPlace,
    shown: Shown,
    { beforeSession, leave, json: more }: Leaving = {},
  ): Promise<void> {
    const { account } = shown;
    const step = nextSignInStep(await stateOf(req, shown));
    if (step !== 'done') return keepAndAsk(req, res, place, shown, step);
    const stillStands = shown.stillStands ?? (await standsFromNow(account.id));
    if (!stillStands) return lost(req, res, place);
    if (shown.progress && !(await claimProgress(db, shown.progress))) return lost(req, res, place);
    await beforeSession?.();
    const signedIn = await unlessChanged(place.signIn({ ...shown, stillStands }));
    if (!signedIn) return lost(req, res, place);
    const { location, json } = signedIn;
    forget(req, res, place);
    // Only now: a password alone must not earn a count of tries of its own for the second factor.
    const known = knownDeviceCookie(deviceCookies, req.headers.cookie, account.email);
    res.cookie(known.name, known.value, known.options);
    if (!isForm(req)) res.set('Cache-Control', 'no-store').json({ ...json, ...more });
    else if (leave) await leave(location);
    else res.redirect(303, location);
  }

  /** Gives the browser what was shown so far, and asks for the step that is due. */
  async function keepAndAsk(
    req: Request,
    res: Response,
    place: SignInPlace,
    { account, amr, stillStands, progress }: Shown,
    step: Exclude<SignInStep, 'done'>,
  ): Promise<void> {
    const accountState = await accountStateOf(db, account.id);
    if (accountState === undefined || (stillStands && !(await stillStands()))) return lost(req, res, place);
    const { id, startedAt } = progress ?? {};
    const kept = { accountId: account.id, amr: [...amr], place: place.path, accountState };
    const cookie = progressCookie({ encryption, secure }, { ...kept, ...(id && startedAt && { id, startedAt }) });
    res.cookie(cookie.name, cookie.value, cookie.options);
    return askFor(req, res, place, step, account.id);
  }

  /** Undefined for an account that nobody may sign in to. */
  async function standsFromNow(accountId: string): Promise<Shown['stillStands']> {
    const accountState = await accountStateOf(db, accountId);
    return accountState === undefined ? undefined : () => isUnchanged(accountId, accountState);
  }

  /** Waits for a change under way: a session that is being made asks this once it is stored. */
  const isUnchanged = async (accountId: string, accountState: string): Promise<boolean> =>
    (await accountStateOf(db, accountId, { lock: true })) === accountState;

  async function stateOf(req: Request, { account, amr }: Shown) {
    const browser = { cookieHeader: req.headers.cookie, secure };
    const [{ totp, passkeys }, remembered] = await Promise.all([
      findSecondFactors(db, account.id),
      isRemembered(db, account.id, browser),
    ]);
    const administrator = account.administratorSince !== null;
    return {
      amr,
      twoStep: totp || (administrator && passkeys > 0),
      remembered: remembered && !administrator,
      passwordExpired: account.passwordExpiredAt !== null,
    };
  }

  /** Sends a browser to the step; tells a program which one it is and what it may answer with. */
  async function askFor(
    req: Request,
    res: Response,
    place: SignInPlace,
    step: Exclude<SignInStep, 'done'>,
    accountId: string,
  ): Promise<void> {
    const location = stepUrl(place, step);
    if (isForm(req)) return res.redirect(303, location);
    const asked = {
      'second-factor': {
        error: 'second_factor_required',
        error_description: 'That is right, and one factor of two: send a code to `location` as well.',
        methods: secondFactorMethods(await findSecondFactors(db, accountId)),
      },
      'change-password': {
        error: 'password_change_required',
        error_description: 'Choose another password at `location` first.',
      },
    }[step];
    noStore(res);
    res.status(401).json({ ...asked, location });
  }

  /** What this browser has shown in the sign-in at `place`; undefined when that is nothing, or nothing that counts now. */
  async function shownSoFar(req: Request, place: SignInPlace): Promise<Shown | undefined> {
    const progress = readProgress({ encryption, secure }, req.headers.cookie, place.path);
    const accountState = progress && (await accountStateOf(db, progress.accountId));
    const account =
      accountState === progress?.accountState ? progress && (await findAccount(db, progress.accountId)) : undefined;
    if (!progress || !account) return place.session;
    return {
      account,
      amr: progress.amr,
      progress,
      stillStands: () => isUnchanged(account.id, progress.accountState),
    };
  }

  /** Answers a step that came too late, twice, out of order or from another browser: the sign-in page, and why. */
  async function lost(req: Request, res: Response, place: SignInPlace): Promise<void> {
    forget(req, res, place);
    if (req.method === 'POST' && !isForm(req)) throw new HttpError(401, 'login_required', 'Start this sign-in again.');
    await place.startAgain(
      {
        title: 'Sign in again.',
        text: 'That step took too long, or began in another browser, or the account changed meanwhile. Nobody was signed in.',
      },
      req.method === 'POST' ? 422 : 200,
    );
  }

  function forget(req: Request, res: Response, place: SignInPlace): void {
    const { name, options } = endedProgressCookie({ secure }, place.path);
    if (req.headers.cookie?.includes(`${name}=`)) res.clearCookie(name, options);
  }

  /** Which step is due, so that none is taken before its turn. */
  const stepOf = async (req: Request, shown: Shown): Promise<SignInStep> => nextSignInStep(await stateOf(req, shown));

  return { advance, shownSoFar, stepOf, lost };
}

/** Undefined when the account changed while the session was being made: then there is none. */
async function unlessChanged<T>(signIn: Promise<T>): Promise<T | undefined> {
  try {
    return await signIn;
  } catch (error) {
    if (error instanceof HttpError && error.code === 'invalid_credentials') return undefined;
    throw error;
  }
}

/** The address of a step at `place`. */
export function stepUrl({ path, hidden }: Pick<SignInPlace, 'path' | 'hidden'>, step: string): string {
  const query = new URLSearchParams(hidden);
  return `${path}/${step}${query.size > 0 ? `?${query}` : ''}`;
}

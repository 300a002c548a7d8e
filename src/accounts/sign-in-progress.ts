/**
 * The sign-in pipeline. A first factor was judged; here stands what is still needed before there is a session, and how a
 * browser keeps "the first factor is done" meanwhile: sealed, short-lived, and worthless once the account's password was
 * changed. Nobody is signed in by anything in this file; sign-in-steps.routes.ts does that when nothing is left.
 */
import { eq } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { claimTurn } from '../http/throttle.ts';
import type { Encryption } from '../keys/encryption.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';

/** The steps that may be left, by the last part of their path; `done`: the session may be made. */
export type SignInStep = 'second-factor' | 'change-password' | 'done';

export type SignInState = {
  /** RFC 8176 values of what was shown so far; `mfa` among them says that two factors were. */
  amr: readonly string[];
  /** Whether the account's owner turned two-step verification on, or is an administrator who has a second factor. */
  twoStep: boolean;
  /** Whether the second factor was shown in this browser lately, and the person asked not to be asked again. */
  remembered: boolean;
  /** Whether the password has to be replaced before it may be used to sign in. */
  passwordExpired: boolean;
};

/**
 * What comes next. The second factor goes first: a password that expired, perhaps because somebody else knows it, must
 * not be enough to choose another.
 */
export function nextSignInStep({ amr, twoStep, remembered, passwordExpired }: SignInState): SignInStep {
  if (twoStep && !remembered && !isMultiFactor(amr)) return 'second-factor';
  if (passwordExpired && amr.includes('pwd')) return 'change-password';
  return 'done';
}

export function isMultiFactor(amr: readonly string[]): boolean {
  return amr.includes('mfa');
}

/** What two lots of RFC 8176 values say together, where they are of two different factors. */
export function withSecondFactor(amr: readonly string[], more: readonly string[]): string[] {
  return [...new Set([...amr, ...more, 'mfa'])];
}

export type ProgressDependencies = { encryption: Encryption; secure: boolean };

/** How long the steps after the first factor may take. */
export const progressMinutes = 10;

const Progress = z.object({
  id: z.string(),
  accountId: z.string(),
  amr: z.array(z.string()),
  /** The path under which the sign-in's steps are: one sign-in's progress is none in another. */
  place: z.string(),
  /** From `accountStateOf`: progress ends when it changes. */
  accountState: z.string(),
  startedAt: z.number(),
});

/** A sign-in whose first factor was shown; `id` names it, and it is finished once. */
export type SignInProgress = Readonly<z.infer<typeof Progress>>;

const purpose = 'sign-in-progress';

/**
 * The cookie that keeps `progress`. It is sent to the steps of its own place alone. `maxAge` is in milliseconds, as
 * Express has it.
 */
export function progressCookie(
  { encryption, secure }: ProgressDependencies,
  progress: Omit<SignInProgress, 'id' | 'startedAt'> & Partial<SignInProgress>,
) {
  const whole: SignInProgress = { id: randomToken(16), startedAt: Date.now(), ...progress };
  return {
    name: cookieName(secure),
    value: encryption.encrypt(JSON.stringify(whole), purpose),
    options: { ...cookieOptions(secure, progress.place), maxAge: progressMinutes * 60_000 },
  };
}

/** What to clear when the sign-in at `place` is over. */
export function endedProgressCookie({ secure }: Pick<ProgressDependencies, 'secure'>, place: string) {
  return { name: cookieName(secure), options: cookieOptions(secure, place) };
}

function cookieOptions(secure: boolean, path: string) {
  return { httpOnly: true, sameSite: 'lax', secure, path } as const;
}

function cookieName(secure: boolean): string {
  return secure ? '__Secure-latchkey_sign_in' : 'latchkey_sign_in';
}

/** This browser's progress at `place`, from the request's `Cookie` header; undefined when there is none that counts. */
export function readProgress(
  { encryption, secure }: ProgressDependencies,
  cookieHeader: string | undefined,
  place: string,
): SignInProgress | undefined {
  const start = `${cookieName(secure)}=`;
  // The cookie of the sign-in page is sent to the steps of a client's request, too: there may be two of the name.
  const values = (cookieHeader ?? '').split(';').map((each) => each.trim());
  return values
    .filter((each) => each.startsWith(start))
    .slice(0, 4)
    .map((each) => open(encryption, each.slice(start.length)))
    .find((progress) => progress?.place === place && isFresh(progress));
}

function open(encryption: Encryption, sealed: string): SignInProgress | undefined {
  try {
    return Progress.safeParse(JSON.parse(encryption.decrypt(sealed, purpose))).data;
  } catch {
    return undefined;
  }
}

function isFresh({ startedAt }: SignInProgress): boolean {
  const age = Date.now() - startedAt;
  return age >= 0 && age < progressMinutes * 60_000;
}

/** True for the one request that may finish this progress, whichever instance it reaches. */
export function claimProgress(db: Database, { id }: SignInProgress): Promise<boolean> {
  return claimTurn(db, `sign-in-progress:${id}`, 2 * progressMinutes * 60);
}

/**
 * What a first factor was judged against, as a digest: another password or a suspension makes it another. Undefined for
 * an account that nobody may sign in to. With `lock` it waits for a change under way.
 */
export async function accountStateOf(
  db: Database,
  accountId: string,
  options: { lock?: boolean } = {},
): Promise<string | undefined> {
  const query = db.select().from(users).where(eq(users.id, accountId));
  const [row] = await (options.lock ? query.for('share') : query);
  if (!row || row.suspendedAt || (row.deletionAt && row.deletionAt <= new Date())) return undefined;
  return sha256(JSON.stringify([row.id, row.passwordHash]));
}

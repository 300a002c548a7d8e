import { z } from 'zod';
import type { Issue } from '../http/errors.ts';
import type { Pages, Problem } from '../http/views.ts';
import type { Authentication } from './authenticate.ts';
import { emailAddress } from './email-address.ts';
import { fieldProblems, typedText } from './field-problems.ts';
import type { PasskeyOutcome } from './passkey-step.ts';

/** No new password is longer, so a longer one needs no work to be wrong. */
const longestPassword = 1024;

export const LoginForm = z.object({
  email: emailAddress,
  password: z
    .string({ error: 'Enter your password.' })
    .min(1, 'Enter your password.')
    .max(longestPassword, `Use at most ${longestPassword} characters.`),
});

/** What came of a sign-in form: `invalid` when a field was missing or malformed. `amr` is what was shown (RFC 8176). */
export type SignInOutcome =
  | (Extract<Authentication, { outcome: 'authenticated' }> & { amr: readonly string[] })
  | Exclude<Authentication, { outcome: 'authenticated' }>
  | Exclude<PasskeyOutcome, { outcome: 'authenticated' }>
  | { outcome: 'invalid'; issues: readonly Issue[] };

type SignInPlace = Omit<Pages['sign-in'], 'email' | 'password' | 'problem'>;

/** The sign-in page at `place`, with the words for what went wrong and the address that was typed. */
export function signInPage(
  place: SignInPlace,
  { email, problem }: { email?: unknown; problem?: Exclude<SignInOutcome, { outcome: 'authenticated' }> } = {},
): { status: 200 | 403 | 422 | 429; data: Pages['sign-in'] } {
  const data = { ...place, email: { value: typedText(email) }, password: {} };
  switch (problem?.outcome) {
    case undefined:
      return { status: 200, data };
    case 'throttled':
      return { status: 429, data: { ...data, problem: tooManyTries(problem.retryAfterSeconds, place.forgotUrl) } };
    case 'passkey-rejected':
      return { status: 422, data: { ...data, problem: passkeyFailed } };
    case 'rejected':
      return { status: 422, data: { ...data, problem: noMatch(place.forgotUrl) } };
    case 'suspended':
      return { status: 403, data: { ...data, problem: suspended } };
    case 'invalid': {
      const { wrong, problem: toFix } = fieldProblems(problem.issues);
      return {
        status: 422,
        data: { ...data, email: { ...data.email, ...wrong('email') }, password: wrong('password'), problem: toFix },
      };
    }
  }
}

/** Told only to who has the right password. */
const suspended: Problem = {
  title: 'This account is suspended.',
  text: 'Whoever runs this server has stopped it. Ask them why, and to let you in again.',
};

export const passkeyFailed: Problem = { title: 'That passkey didn’t work here.', text: 'Use another way in.' };

function noMatch(forgotUrl: string | undefined): Problem {
  return { title: 'That email and password don’t match.', ...orReset('Check both and try again', forgotUrl) };
}

/** Says how long to wait, in whole minutes. */
export function tooManyTries(retryAfterSeconds: number, forgotUrl: string | undefined): Problem {
  const wait = waitInWords(retryAfterSeconds);
  return { title: 'Too many tries.', ...orReset(forgotUrl ? wait : `${wait}, then try again`, forgotUrl) };
}

/** `Wait 5 minutes`: whole minutes, rounded up. */
export function waitInWords(seconds: number): string {
  const minutes = Math.ceil(seconds / 60);
  return minutes === 1 ? 'Wait a minute' : `Wait ${minutes} minutes`;
}

function orReset(advice: string, forgotUrl: string | undefined): Partial<Pick<Problem, 'text' | 'link'>> {
  if (forgotUrl === undefined) return { text: `${advice}.` };
  return { link: { href: forgotUrl, before: `${advice}, or `, text: 'reset your password', after: '.' } };
}

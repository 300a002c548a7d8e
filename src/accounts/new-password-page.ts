import type { Issue } from '../http/errors.ts';
import type { Pages } from '../http/views.ts';
import { fieldProblems, typedText } from './field-problems.ts';
import type { ResetRequest } from './password-reset.ts';
import { withReturnTo } from './return-to.ts';
import { tooManyTries } from './sign-in-page.ts';

/** The page on which a link to a new password is asked for; `returnTo` is where the person was going. */
export function forgotPage(
  returnTo: string | undefined,
  { email, problem }: { email?: unknown; problem?: Exclude<ResetRequest, { outcome: 'answered' }> } = {},
): { status: 200 | 422 | 429; data: Pages['forgot-password'] } {
  const data = {
    action: '/auth/forgot-password',
    email: { value: typedText(email) },
    hidden: returnTo === undefined ? {} : { return_to: returnTo },
    signInUrl: withReturnTo('/auth/login', returnTo),
  };
  switch (problem?.outcome) {
    case undefined:
      return { status: 200, data };
    case 'throttled':
      return { status: 429, data: { ...data, problem: tooManyTries(problem.retryAfterSeconds, undefined) } };
    case 'invalid': {
      const { wrong, problem: toFix } = fieldProblems(problem.issues);
      return { status: 422, data: { ...data, email: { ...data.email, ...wrong('email') }, problem: toFix } };
    }
  }
}

type NewPasswordPlace = Omit<Pages['new-password'], 'password' | 'problem'>;

/** The page on which a new password is chosen without the old one, with words for what is to mend. */
export function newPasswordPage(
  place: NewPasswordPlace,
  issues: readonly Issue[] = [],
): { status: 200 | 422; data: Pages['new-password'] } {
  if (issues.length === 0) return { status: 200, data: { ...place, password: {} } };
  const { wrong, problem } = fieldProblems(issues);
  return { status: 422, data: { ...place, password: wrong('password'), problem } };
}

import type { Issue } from '../http/errors.ts';
import type { Pages } from '../http/views.ts';
import type { Authentication } from './authenticate.ts';
import { fieldProblems } from './field-problems.ts';
import type { PasskeyOutcome } from './passkey-step.ts';
import type { SignInMethods } from './sign-in-methods.ts';
import { passkeyFailed, tooManyTries } from './sign-in-page.ts';

/** What came of a confirmation that did not succeed. */
export type Confirmation =
  | Exclude<Authentication, { outcome: 'authenticated' }>
  | Exclude<PasskeyOutcome, { outcome: 'authenticated' }>
  | { outcome: 'code-rejected' }
  /** A password where two-step verification is on. */
  | { outcome: 'code-needed' }
  | { outcome: 'invalid'; issues: readonly Issue[] };

type Place = {
  email: string;
  methods: Pick<SignInMethods, 'password' | 'twoStepSince' | 'passkeys'>;
  returnTo: string | undefined;
  unsent: boolean;
};

/** The page that asks a signed-in person for the password, a code or a passkey again, with the words for what went wrong. */
export function confirmPage(place: Place, problem?: Confirmation): { status: 200 | 422 | 429; data: Pages['confirm'] } {
  const data = emptyPage(place);
  switch (problem?.outcome) {
    case undefined:
      return { status: 200, data };
    case 'throttled':
      return { status: 429, data: { ...data, problem: tooManyTries(problem.retryAfterSeconds, undefined) } };
    // Suspended since the request came: the next one ends at the sign-in page.
    case 'suspended':
    case 'rejected':
      return withIssues(data, [{ path: 'password', message: 'That’s not your password. Try again.' }]);
    case 'code-needed':
      return withIssues(data, [{ path: 'code', message: 'Enter a code.' }]);
    case 'code-rejected':
      return withIssues(data, [
        { path: 'code', message: 'That code didn’t work. Enter the newest one your app shows.' },
      ]);
    case 'passkey-rejected':
      return { status: 422, data: { ...data, problem: passkeyFailed } };
    case 'invalid':
      return withIssues(data, data.asks === 'password' ? problem.issues : [{ path: 'code', message: 'Enter a code.' }]);
  }
}

function emptyPage({ email, methods, returnTo, unsent }: Place): Pages['confirm'] {
  const hidden = { ...(returnTo !== undefined && { return_to: returnTo }), ...(unsent && { unsent: 'yes' }) };
  const asks = methods.twoStepSince !== undefined ? 'code' : methods.password ? 'password' : undefined;
  return {
    action: '/auth/confirm',
    email,
    asks,
    passkey: methods.passkeys > 0,
    unsent,
    hidden,
    cancelUrl: '/account',
  };
}

function withIssues(
  data: Pages['confirm'],
  issues: Parameters<typeof fieldProblems>[0],
): { status: 422; data: Pages['confirm'] } {
  const { wrong, problem } = fieldProblems(issues);
  return { status: 422, data: { ...data, ...wrong(data.asks ?? ''), problem } };
}

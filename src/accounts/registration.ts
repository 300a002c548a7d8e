import { z } from 'zod';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import { issuesOf, text } from '../http/body.ts';
import type { Issue } from '../http/errors.ts';
import type { Pages } from '../http/views.ts';
import { type Account, createAccount } from './accounts.ts';
import type { Throttled } from './attempts.ts';
import { emailAddress } from './email-address.ts';
import { sendVerification } from './email-verification.ts';
import { fieldProblems, typedText } from './field-problems.ts';
import { hashPassword } from './password.ts';
import { checkPassword, checkPasswordLength, type PasswordCheck } from './password-policy.ts';
import { tooManyTries } from './sign-in-page.ts';
import {
  beginRegistration,
  type RegistrationMailed,
  type VerifiedRegistrationDependencies,
} from './verified-registration.ts';

export type AccountRegistration = 'open' | 'verified' | 'closed';

export const RegistrationForm = z.object({
  name: z.string({ error: 'Enter your name.' }).trim().min(1, 'Enter your name.').pipe(text(200)),
  email: emailAddress,
  password: z.string({ error: 'Choose a password.' }).superRefine((password, context) => {
    const wrong = checkPasswordLength(password);
    if (wrong) context.addIssue({ code: 'custom', message: wrong });
  }),
});

export type RegistrationDependencies = VerifiedRegistrationDependencies & {
  accountRegistration: AccountRegistration;
  passwordCheck: PasswordCheck;
};

export type Registration =
  | { outcome: 'registered'; account: Account }
  /** A mail was sent, whatever the address: the account is made once it was proven. */
  | RegistrationMailed
  | { outcome: 'email-taken' }
  | { outcome: 'invalid'; issues: readonly Issue[] }
  | Throttled
  /** Accounts are made by the operator. */
  | { outcome: 'closed' };

/**
 * Makes an account of a request body, wherever the form stood, or has the address proven first.
 * @param place.continueTo where this browser goes on once its address is proven, a path on this origin
 * @throws `BusyError`
 */
export async function registerAccount(
  dependencies: RegistrationDependencies,
  body: unknown,
  { source, continueTo }: { source: AuditSource; continueTo: string },
): Promise<Registration> {
  const { db, encryption, bcrypt, accountRegistration, passwordCheck } = dependencies;
  if (accountRegistration === 'closed') return { outcome: 'closed' };
  const form = RegistrationForm.safeParse(body ?? {});
  if (!form.success) return { outcome: 'invalid', issues: issuesOf(form.error) };
  const { name, email, password } = form.data;
  const wrong = await checkPassword(password, passwordCheck, { email, name });
  if (wrong) return { outcome: 'invalid', issues: [{ path: 'password', message: wrong }] };
  if (accountRegistration === 'verified') {
    return beginRegistration(dependencies, { name, email, password }, { address: source.address, continueTo });
  }
  const passwordHash = await hashPassword(bcrypt, password);
  return db.transaction(async (tx) => {
    const created = await createAccount(tx, { name, email, passwordHash });
    if (created.outcome === 'email-taken') return created;
    const { account } = created;
    await record(tx, { event: 'account.registered', accountId: account.id, source });
    await sendVerification(tx, encryption, account);
    return { outcome: 'registered', account };
  });
}

export type RegistrationProblem = Extract<Registration, { outcome: 'email-taken' | 'invalid' | 'throttled' }>;

type RegisterPlace = Omit<Pages['register'], 'name' | 'email' | 'password' | 'problem'>;

/** The registration page at `place`: what was typed is kept, the password apart, with words for what is to mend. */
export function registerPage(
  place: RegisterPlace,
  { body, problem }: { body?: unknown; problem?: RegistrationProblem } = {},
): { status: 200 | 409 | 422 | 429; data: Pages['register'] } {
  const typed = (body ?? {}) as Record<string, unknown>;
  const data = {
    ...place,
    name: { value: typedText(typed.name) },
    email: { value: typedText(typed.email) },
    password: {},
  };
  switch (problem?.outcome) {
    case undefined:
      return { status: 200, data };
    case 'throttled':
      return { status: 429, data: { ...data, problem: tooManyTries(problem.retryAfterSeconds, undefined) } };
    case 'email-taken':
      return {
        status: 409,
        data: {
          ...data,
          email: { ...data.email, wrong: 'This address already has an account.' },
          problem: {
            title: 'You may have an account already.',
            link: { href: place.signInUrl, before: '', text: 'Sign in with this address', after: ', or use another.' },
          },
        },
      };
    case 'invalid': {
      const { wrong, problem: toFix } = fieldProblems(problem.issues);
      return {
        status: 422,
        data: {
          ...data,
          name: { ...data.name, ...wrong('name') },
          email: { ...data.email, ...wrong('email') },
          password: wrong('password'),
          problem: toFix,
        },
      };
    }
  }
}

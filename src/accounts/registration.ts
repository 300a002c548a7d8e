import { z } from 'zod';
import type { Database } from '../db/database.ts';
import { issuesOf, text } from '../http/body.ts';
import type { Issue } from '../http/errors.ts';
import type { Pages } from '../http/views.ts';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import { type Account, createAccount } from './accounts.ts';
import { emailAddress } from './email-address.ts';
import { fieldProblems, typedText } from './field-problems.ts';
import { hashPassword } from './password.ts';
import { checkPassword, checkPasswordLength, type PasswordCheck } from './password-policy.ts';

export type AccountRegistration = 'open' | 'verified' | 'closed';

export const RegistrationForm = z.object({
  name: z.string({ error: 'Enter your name.' }).trim().min(1, 'Enter your name.').pipe(text(200)),
  email: emailAddress,
  password: z.string({ error: 'Choose a password.' }).superRefine((password, context) => {
    const wrong = checkPasswordLength(password);
    if (wrong) context.addIssue({ code: 'custom', message: wrong });
  }),
});

export type RegistrationDependencies = {
  db: Database;
  bcrypt: Bcrypt;
  accountRegistration: AccountRegistration;
  passwordCheck: PasswordCheck;
};

export type Registration =
  | { outcome: 'registered'; account: Account }
  | { outcome: 'email-taken' }
  | { outcome: 'invalid'; issues: readonly Issue[] }
  /** Not in this way: accounts are made by the operator, or only after the address was proven. */
  | { outcome: 'closed' };

/** Makes an account of a request body, wherever the form stood. Throws `BusyError`. */
export async function registerAccount(
  { db, bcrypt, accountRegistration, passwordCheck }: RegistrationDependencies,
  body: unknown,
): Promise<Registration> {
  if (accountRegistration !== 'open') return { outcome: 'closed' };
  const form = RegistrationForm.safeParse(body ?? {});
  if (!form.success) return { outcome: 'invalid', issues: issuesOf(form.error) };
  const { name, email, password } = form.data;
  const wrong = await checkPassword(password, passwordCheck, { email, name });
  if (wrong) return { outcome: 'invalid', issues: [{ path: 'password', message: wrong }] };
  const created = await createAccount(db, { name, email, passwordHash: await hashPassword(bcrypt, password) });
  return created.outcome === 'created' ? { outcome: 'registered', account: created.account } : created;
}

type RegisterPlace = Omit<Pages['register'], 'name' | 'email' | 'password' | 'problem'>;

/** The registration page at `place`: what was typed is kept, the password apart, with words for what is to mend. */
export function registerPage(
  place: RegisterPlace,
  { body, problem }: { body?: unknown; problem?: Extract<Registration, { outcome: 'email-taken' | 'invalid' }> } = {},
): { status: 200 | 409 | 422; data: Pages['register'] } {
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

/**
 * How sure the server is of who signed in, in words that clients may ask for (`acr_values`, `acr` in the claims
 * parameter) and read in ID tokens. Which of them a request needs, and when it has to be asked for, is in step-up.ts.
 */
import { isMultiFactor } from '../accounts/sign-in-progress.ts';

/** One factor: a password, or a passkey that did not check whose hand it was in. */
const password = 'urn:latchkey:acr:pwd';
/** Two factors: a password and a code or passkey, or a passkey that checked its person. */
export const multiFactor = 'urn:latchkey:acr:mfa';

/** What can be had, the weakest first: who has one has those before it. */
export const acrValues: readonly string[] = [password, multiFactor];

/** The `acr` of a sign-in by these methods (RFC 8176 `amr`). */
export function acrOf(amr: readonly string[]): string | undefined {
  if (isMultiFactor(amr)) return multiFactor;
  return amr.some((method) => method === 'pwd' || method === 'pop') ? password : undefined;
}

/** Whether a sign-in of `held` is one of `wanted`, or better than one. */
export function meetsAcr(held: string | undefined, wanted: readonly string[]): boolean {
  return wanted.some((each) => acrValues.includes(each) && acrValues.indexOf(each) <= acrValues.indexOf(held ?? ''));
}

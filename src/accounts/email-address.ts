import { domainToASCII } from 'node:url';
import { z } from 'zod';
import { text } from '../http/body.ts';

const missing = 'Enter your email address.';

/** An address as a person types it, kept as typed apart from NFKC; `normalizeEmail` makes the form that is compared. */
export const emailAddress = z
  .string({ error: missing })
  .trim()
  .min(1, missing)
  .pipe(text(254))
  .refine(isEmailAddress, 'Enter an address like name@example.com.')
  .transform((email) => email.normalize('NFKC'));

/** RFC 5321 §4.1.2 without quoted local parts and address literals, letters of any script allowed (RFC 6531). */
function isEmailAddress(value: string): boolean {
  const [, local, domain] = /^([^@]+)@([^@]+)$/.exec(value.normalize('NFKC')) ?? [];
  if (!local || !domain) return false;
  const isLocalPart = /^[^\s"(),:;<>[\\\]]{1,64}$/u.test(local) && !/^\.|\.\.|\.$/.test(local);
  return (
    isLocalPart && /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]*[a-z][a-z0-9-]*$/.test(domainToASCII(domain))
  );
}

/**
 * Device cookies: a browser in which somebody signed in to an account keeps a mark for that account, and wrong
 * passwords and codes from there are counted apart. Whoever else tries passwords can pause strangers, never the owner at home
 * (SECURITY 52; the OWASP device cookie protocol). A mark proves nothing and opens nothing.
 */
import { createHmac } from 'node:crypto';
import { equalInConstantTime } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';
import { normalizeEmail } from './accounts.ts';

export type DeviceCookies = { cookieSecrets: readonly string[]; secure: boolean };

/** A browser remembers this many accounts, the latest first. */
const mostAccounts = 5;

/** As long as browsers keep any cookie. */
const maxAgeDays = 400;

/**
 * What made the browser known. A reset by mail does so for passwords alone: the mailbox must not earn tries of the second
 * factor (SECURITY 53).
 */
type Proof = 'sign-in' | 'reset';

/** This browser's id for the account with that address, from the request's `Cookie` header; undefined for a stranger. */
export function findKnownDevice(
  { cookieSecrets, secure }: DeviceCookies,
  cookieHeader: string | undefined,
  email: string,
  proofs: readonly Proof[] = ['sign-in'],
): string | undefined {
  const mark = readMarks(cookieHeader, secure).find((each) => isMarkOf(cookieSecrets, each, email, proofs));
  return mark && deviceOf(mark);
}

/** The same where a password is judged. */
export function findDeviceForPassword(
  deviceCookies: DeviceCookies,
  cookieHeader: string | undefined,
  email: string,
): string | undefined {
  return findKnownDevice(deviceCookies, cookieHeader, email, ['sign-in', 'reset']);
}

/**
 * The cookie to set once the account with that address has signed in, all of its factors shown, or has a new password by
 * a mail. `maxAge` is in milliseconds, as Express has it.
 */
export function knownDeviceCookie(
  { cookieSecrets, secure }: DeviceCookies,
  cookieHeader: string | undefined,
  email: string,
  proof: Proof = 'sign-in',
) {
  const marks = readMarks(cookieHeader, secure);
  const better = marks.find((each) => isMarkOf(cookieSecrets, each, email, ['sign-in']));
  const known = better ?? marks.find((each) => isMarkOf(cookieSecrets, each, email, ['reset']));
  const device = known ? deviceOf(known) : randomToken(16);
  const mark = `${device}.${sign(cookieSecrets[0] ?? '', device, email, better ? 'sign-in' : proof)}`;
  return {
    name: cookieName(secure),
    value: [mark, ...marks.filter((each) => each !== known)].slice(0, mostAccounts).join('~'),
    options: { httpOnly: true, sameSite: 'lax', secure, path: '/', maxAge: maxAgeDays * 24 * 60 * 60 * 1000 } as const,
  };
}

/** On https the prefix keeps other hosts of the domain from setting it; on plain http browsers would refuse it. */
function cookieName(secure: boolean): string {
  return secure ? '__Host-latchkey-device' : 'latchkey-device';
}

function readMarks(cookieHeader: string | undefined, secure: boolean): string[] {
  const start = `${cookieName(secure)}=`;
  const cookie = cookieHeader?.split(';').find((each) => each.trim().startsWith(start));
  const marks = cookie?.trim().slice(start.length).split('~') ?? [];
  return marks.filter((mark) => /^[\w-]{22}\.[\w-]{43}$/.test(mark)).slice(0, mostAccounts);
}

function deviceOf(mark: string): string {
  return mark.slice(0, mark.indexOf('.'));
}

function isMarkOf(cookieSecrets: readonly string[], mark: string, email: string, proofs: readonly Proof[]): boolean {
  const device = deviceOf(mark);
  const signature = mark.slice(device.length + 1);
  return cookieSecrets.some((secret) =>
    proofs.some((proof) => equalInConstantTime(sign(secret, device, email, proof), signature)),
  );
}

/** The address takes part through the signature alone, so the cookie does not tell it. */
function sign(secret: string, device: string, email: string, proof: Proof): string {
  const purpose = { 'sign-in': 'known-device', reset: 'reset-device' }[proof];
  return createHmac('sha256', secret)
    .update(`${purpose}:${device}:${normalizeEmail(email)}`)
    .digest('base64url');
}

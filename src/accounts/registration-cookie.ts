/** What the browser with a registration form keeps until the link in the mail is followed; it opens nothing alone. */
import { verificationHours } from './email-verification.ts';

/** `maxAge` is in milliseconds, as Express has it. */
export function registrationCookie(secure: boolean, browser: string) {
  const options = { ...attributes(secure), maxAge: verificationHours * 3600 * 1000 };
  return { name: nameOf(secure), value: browser, options };
}

/** What to clear once there is an account. */
export function endedRegistrationCookie(secure: boolean) {
  return { name: nameOf(secure), options: attributes(secure) };
}

/** From the request's `Cookie` header. */
export function readRegistrationCookie(secure: boolean, cookieHeader: string | undefined): string | undefined {
  const start = `${nameOf(secure)}=`;
  const cookie = cookieHeader?.split(';').find((each) => each.trim().startsWith(start));
  const browser = cookie?.trim().slice(start.length);
  return browser && /^[\w-]{43}$/.test(browser) ? browser : undefined;
}

/** On https the prefix keeps other hosts of the domain from setting it; on plain http browsers would refuse it. */
function nameOf(secure: boolean): string {
  return secure ? '__Host-latchkey-registration' : 'latchkey-registration';
}

function attributes(secure: boolean) {
  return { httpOnly: true, sameSite: 'lax', secure, path: '/' } as const;
}

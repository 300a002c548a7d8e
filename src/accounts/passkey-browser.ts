/**
 * The browser that asked for a challenge, so that no other one can answer it: a random cookie that says nothing else and
 * lasts as long as the browser is open.
 */
import { randomToken } from '../lib/random.ts';

export type WithCookies = { headers: { cookie?: string | undefined } };
export type SetsCookies = { cookie(name: string, value: string, options: object): unknown };

/** This browser's value; empty, and so no browser's, without the cookie. */
export function browserOf(secure: boolean, req: WithCookies): string {
  const found = (req.headers.cookie ?? '').split(';').map((each) => each.trim().split('='));
  const value = found.find(([name]) => name === cookieName(secure))?.[1] ?? '';
  return /^[\w-]{22}$/.test(value) ? value : '';
}

/** The same, after giving this browser the cookie if it has none. */
export function createBrowser(secure: boolean, req: WithCookies, res: SetsCookies): string {
  const known = browserOf(secure, req);
  if (known) return known;
  const value = randomToken(16);
  // Only scripts of our own pages send it, wherever the person came from.
  res.cookie(cookieName(secure), value, { httpOnly: true, sameSite: 'strict', secure, path: '/' });
  return value;
}

/** On https the prefix keeps other hosts of the domain from setting it; on plain http browsers would refuse it. */
function cookieName(secure: boolean): string {
  return secure ? '__Host-latchkey-passkey' : 'latchkey-passkey';
}

/**
 * 2. Two cookies, both `__Host-`: the browser takes such a one only with Secure, Path=/ and no Domain, so that no
 * neighbouring host can plant or read it. Chromium and Firefox take them on http://localhost too.
 */

/** Names who is signed in: a random value, nothing else. */
export const sessionCookie = '__Host-tidewater-session';
/** Carries a sign-in under way. */
export const signInCookie = '__Host-tidewater-sign-in';

/** Lax: sent when somebody follows a link to here, and not with another site's form or script. */
export function setCookie(name: string, value: string, seconds: number): string {
  return `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=${seconds}`;
}

export const clearCookie = (name: string): string => setCookie(name, '', 0);

export function readCookie(request: Request, name: string): string | undefined {
  const pairs = (request.headers.get('cookie') ?? '').split('; ').map((pair) => pair.split('='));
  return pairs.find(([key]) => key === name)?.[1];
}

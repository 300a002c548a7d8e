/** Cookie names: plain ones on http, where prefixes and `Secure` would keep browsers from sending them. */
export function cookieNames(secure: boolean): { session: string; interaction: string; resume: string } {
  const scoped = secure ? '__Secure-latchkey_' : 'latchkey_';
  return {
    session: secure ? '__Host-latchkey_session' : 'latchkey_session',
    interaction: `${scoped}interaction`,
    resume: `${scoped}resume`,
  };
}

/** The attributes of the session cookie, shared by the library and our own sign-in. */
export const longCookie = { signed: true, httpOnly: true, sameSite: 'lax', overwrite: true, path: '/' } as const;
export const shortCookie = { signed: true, httpOnly: true, sameSite: 'lax', overwrite: true } as const;

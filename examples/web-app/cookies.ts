/** Cookies of this app: a random value that means something to us alone, and the same careful attributes for all. */
import type { Request, Response } from 'express';
import { cookiePrefix, secure } from './settings.ts';

/** `SameSite=Lax` still comes along when the provider sends the browser back, and never with a form of another site. */
const attributes = { httpOnly: true, sameSite: 'lax', secure, path: '/' } as const;

/** Cookies know no ports: on localhost every app sees them all, so the name says whose it is. */
const fullName = (name: string) => `${cookiePrefix}_${name}`;

export function readCookie(req: Request, name: string): string | undefined {
  const start = `${fullName(name)}=`;
  const found = req.headers.cookie?.split('; ').find((pair) => pair.startsWith(start));
  return found?.slice(start.length);
}

/** Gone when the browser closes; what it stands for ends sooner. */
export function setCookie(res: Response, name: string, value: string): void {
  res.cookie(fullName(name), value, attributes);
}

export function clearCookie(res: Response, name: string): void {
  res.clearCookie(fullName(name), attributes);
}

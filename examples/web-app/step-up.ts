/**
 * Chapter 8: pages that want more. Being signed in is enough for a profile. What a person has borrowed, and the card that
 * opens the door at night, want proof that it is still them. The page names what it needs, the guard compares that with what
 * the ID token *said* (`auth_time`, `acr`), and sends the person to show more when it is not enough: the idea of RFC 9470.
 */
import type { Request, RequestHandler, Response } from 'express';
import { findSession, type Session } from './session.ts';
import { baseUrl } from './settings.ts';
import { type Needs, startSignIn } from './sign-in.ts';

/** Latchkey's word for a sign-in with two factors. */
export const twoFactors = 'urn:latchkey:acr:mfa';

/** Shows a page to people who are signed in as the page needs it; sends everybody else to sign in, and back here. */
export function signedIn(
  show: (req: Request, res: Response, session: Session) => Promise<void> | void,
  needs: Needs = {},
): RequestHandler {
  return async (req, res) => {
    const session = findSession(req);
    if (session && isEnough(session, needs)) return show(req, res, session);
    await startSignIn(req, res, new URL(req.originalUrl, baseUrl).href, needs);
  };
}

function isEnough({ claims }: Session, { maxAge, acr }: Needs): boolean {
  const age = Date.now() / 1000 - (claims.auth_time ?? 0);
  return (maxAge === undefined || age <= maxAge) && (acr === undefined || claims.acr === acr);
}

/**
 * What stands before every route: a token in the Authorization header (RFC 6750 §2.1), a check that it is good at this
 * API, and the scope that the route needs. How it is checked is the next two files' story: verify.ts and introspect.ts.
 */
import type { RequestHandler, Response } from 'express';
import { insufficientScope, noToken } from './problems.ts';

/** What a good token says (RFC 9068 §2.2, RFC 8693 §4.1). */
export type Claims = {
  /** Who it is about: a person, or the client that got it for itself. */
  sub: string;
  /** Who got it from Latchkey. */
  client_id: string;
  scope?: string;
  /** Who acts for the subject, when the token was exchanged. */
  act?: { sub: string };
  /** What the operator says about that client: `--authorization-metadata`. */
  'urn:latchkey:client'?: { team?: string };
};

/** Resolves with the claims of a token that is good at this API; rejects with the problem it has. */
export type Check = (token: string) => Promise<Claims>;

/** Lets through who brings a good token with this scope. */
export function requireToken(check: Check, scope: string): RequestHandler {
  return async (req, res, next) => {
    const [, token] = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i.exec(req.get('authorization') ?? '') ?? [];
    if (!token) throw noToken();
    const claims = await check(token);
    if (!claims.scope?.split(' ').includes(scope)) throw insufficientScope(scope);
    res.locals.token = token;
    res.locals.claims = claims;
    next();
  };
}

export function claimsOf(res: Response): Claims {
  return res.locals.claims as Claims;
}

/** The token itself: to exchange it, never to pass it on. */
export function tokenOf(res: Response): string {
  return res.locals.token as string;
}

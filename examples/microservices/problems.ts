/**
 * Every answer that is not the one asked for, as JSON and with the headers that a program needs to do the right thing:
 * get another token, ask for more, or come back later.
 */
import type { ErrorRequestHandler } from 'express';
import { say } from './say.ts';

export class Problem extends Error {
  readonly status: number;
  readonly error: string;
  readonly headers: Record<string, string>;

  constructor(status: number, error: string, description: string, headers: Record<string, string> = {}) {
    super(description);
    this.status = status;
    this.error = error;
    this.headers = headers;
  }
}

/** RFC 6750 §3.1: a request that brought no token is told how to bring one, and of no error. */
export function noToken(): Problem {
  const description = 'Send an access token in the header: Authorization: Bearer …';
  return new Problem(401, 'unauthorized', description, { 'WWW-Authenticate': 'Bearer' });
}

/** The token is the problem: another one may do. `description` is ASCII without quotes (RFC 6750 §3). */
export function invalidToken(description: string): Problem {
  const challenge = `Bearer error="invalid_token", error_description="${description}"`;
  return new Problem(401, 'invalid_token', description, { 'WWW-Authenticate': challenge });
}

/** The token is good, but not for this. */
export function insufficientScope(scope: string): Problem {
  const description = `this needs the scope ${scope}`;
  const challenge = `Bearer error="insufficient_scope", error_description="${description}", scope="${scope}"`;
  return new Problem(403, 'insufficient_scope', description, { 'WWW-Authenticate': challenge });
}

/** Somebody whom we need does not answer. That is nobody's fault here, so the answer is neither 401 nor 500. */
export function notNow(who: string, address: string, reason: unknown): Problem {
  say(`${who} does not answer at ${address}: ${reasonOf(reason)}`);
  const description = `${who} does not answer at the moment. Try again; all goes on by itself once it is back.`;
  return new Problem(503, 'temporarily_unavailable', description, { 'Retry-After': '5' });
}

/** Why a request did not get through: fetch hides it in the cause. */
export function reasonOf(error: unknown): string {
  const { message, code, cause } = error as Error & { code?: string };
  return cause instanceof Error ? reasonOf(cause) : message.trim() || String(code);
}

/** The last handler of a service. What nobody thought of is logged, and says nothing to the outside. */
export const answerProblem: ErrorRequestHandler = (error, _req, res, next) => {
  if (res.headersSent) return next(error);
  if (error instanceof Problem) {
    const { status, headers, message } = error;
    return void res.status(status).set(headers).json({ error: error.error, error_description: message });
  }
  // Express's own: a body that is too large, or no JSON.
  if (error.status >= 400 && error.status < 500) {
    return void res.status(error.status).json({ error: 'invalid_request', error_description: error.message });
  }
  console.error(error);
  res.status(500).json({ error: 'server_error', error_description: 'Something broke here.' });
};

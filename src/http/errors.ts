/** A field of a request body that was not acceptable. `path` names it as the sender did. */
export type Issue = { path: string; message: string };

/**
 * An answer that the caller may be told: a status, a stable code for machines (RFC 6749 §5.2 `error`) and a sentence
 * for people (`error_description`). The `cause` goes to the log and never to the caller.
 */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;
  readonly issues: readonly Issue[] | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    status: number,
    code: string,
    description: string,
    options: { issues?: readonly Issue[]; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(description, { cause: options.cause });
    this.name = 'HttpError';
    this.status = status;
    this.code = code;
    this.issues = options.issues;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

export function notFound(): HttpError {
  return new HttpError(404, 'not_found', 'There is nothing at this address.');
}

/** 400: `issues` has one for each field of the body that is wrong. */
export function unacceptable(issues: readonly Issue[]): HttpError {
  return new HttpError(400, 'invalid_request', 'The request body is not acceptable.', { issues });
}

/** 405 (RFC 9110 §15.5.6): whoever answers also sets `Allow`. */
export function methodNotAllowed(): HttpError {
  return new HttpError(405, 'method_not_allowed', 'This address does not take that kind of request.');
}

/** 429: `retryAfterSeconds` whole seconds until another try makes sense. */
export function tooManyRequests(retryAfterSeconds: number): HttpError {
  return new HttpError(429, 'too_many_requests', 'Too many requests. Wait a moment, then try again.', {
    retryAfterSeconds,
  });
}

/** 503: nothing is wrong with the request, and a later one will be answered. */
export function unavailable(cause?: unknown): HttpError {
  const description = 'The service cannot answer right now. Try again in a moment.';
  return new HttpError(503, 'temporarily_unavailable', description, { retryAfterSeconds: 5, cause });
}

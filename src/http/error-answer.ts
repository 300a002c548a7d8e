import type { ServerResponse } from 'node:http';
import { isUnavailable } from '../db/database.ts';
import { BusyError } from '../lib/bcrypt-pool.ts';
import { HttpError, unavailable } from './errors.ts';

/** What a failure becomes for programs: RFC 6749 §5.2 JSON. Faults of ours are noted for the request's log line. */
export function sendError(res: ServerResponse & { locals: Record<string, unknown> }, error: unknown): void {
  const answer = toHttpError(error);
  noteError(res, answer, error);
  if (!res.headersSent) sendJson(res, answer);
}

/** Says what failed in the log line, when it was no mistake of the caller's. */
export function noteError(res: { locals: Record<string, unknown> }, answer: HttpError, error: unknown): void {
  if (answer.status >= 500) res.locals.error = answer.cause ?? error;
}

export function sendJson(res: ServerResponse, { status, code, message, issues, retryAfterSeconds }: HttpError): void {
  const body = JSON.stringify({ error: code, error_description: message, ...(issues && { issues }) });
  res.setHeader('Cache-Control', 'no-store');
  if (retryAfterSeconds !== undefined) res.setHeader('Retry-After', String(retryAfterSeconds));
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.writeHead(status).end(body);
}

/** What a caller may be told of any failure. Bugs keep their details to themselves. */
export function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  const status = statusOf(error);
  // First, since a sender who hangs up looks like a broken connection to the database.
  if (status !== undefined && status >= 400 && status < 500) {
    const description = clientErrors[status] ?? 'The request could not be read.';
    return new HttpError(status, 'invalid_request', description, { cause: error });
  }
  if (isUnavailable(error) || error instanceof BusyError) return unavailable(error);
  return new HttpError(500, 'server_error', 'Something broke on our side.', { cause: error });
}

/** Express and its body parsers mark what the sender did wrong with a status. */
function statusOf(error: unknown): number | undefined {
  return error instanceof Error && 'status' in error && typeof error.status === 'number' ? error.status : undefined;
}

const clientErrors: Record<number, string> = {
  400: 'The request could not be read: its encoding or JSON is broken.',
  413: 'The request body is too large.',
  415: 'The request body has an encoding or content type that is not supported.',
};

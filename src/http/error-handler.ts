import type { ErrorRequestHandler, Request, Response } from 'express';
import { isUnavailable } from '../db/database.ts';
import { BusyError } from '../lib/bcrypt-pool.ts';
import { HttpError, unavailable } from './errors.ts';
import { type Pages, reference, wantsPage } from './pages.ts';
import { noStore } from './security-headers.ts';

/** The one place where a failure becomes an answer: a page for people, RFC 6749 §5.2 JSON for programs. */
export function errorHandler(pages: Pages): ErrorRequestHandler {
  return async (error: unknown, req, res, next) => {
    const answer = toHttpError(error);
    if (answer.status >= 500) res.locals.error = answer.cause ?? error;
    if (res.headersSent) return next(error);
    noStore(res);
    if (answer.retryAfterSeconds !== undefined) res.setHeader('Retry-After', String(answer.retryAfterSeconds));
    if (wantsPage(req)) await sendPage(pages, req, res, answer);
    else sendJson(res, answer);
  };
}

function sendJson(res: Response, { status, code, message, issues }: HttpError): void {
  res.status(status).json({ error: code, error_description: message, ...(issues && { issues }) });
}

async function sendPage(pages: Pages, req: Request, res: Response, error: HttpError): Promise<void> {
  const { title, text } = words(error);
  const retryPath = req.method === 'GET' ? req.originalUrl : undefined;
  await pages.page(
    res,
    'error',
    {
      title,
      text,
      action:
        error.status >= 500 && retryPath
          ? { url: retryPath, label: 'Try again' }
          : { url: '/', label: 'Go to the start page' },
      ...reference(res),
    },
    { status: error.status },
  );
}

function words(error: HttpError): { title: string; text: string[] } {
  if (error.status === 404) return { title: 'We can’t find that page', text: ['Check the address, or start again.'] };
  if (error.status === 429)
    return { title: 'Too many tries', text: ['Nothing was done. Wait a minute, then try again.'] };
  if (error.status === 503) {
    return {
      title: 'We can’t do this right now',
      text: ['Part of this service is not answering. Nothing was lost. Wait a moment, then try again.'],
    };
  }
  if (error.status >= 500) {
    return {
      title: 'Something broke on our side',
      text: ['You did nothing wrong and nothing was shared. Wait a minute, then try again.'],
    };
  }
  return { title: 'That didn’t work', text: [error.message, ...(error.issues ?? []).map(({ message }) => message)] };
}

/** What a caller may be told of any failure. Bugs keep their details to themselves. */
function toHttpError(error: unknown): HttpError {
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

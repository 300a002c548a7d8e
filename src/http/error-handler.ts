import type { ErrorRequestHandler, Request, Response } from 'express';
import { noteError, sendJson, toHttpError } from './error-answer.ts';
import type { HttpError } from './errors.ts';
import { type Pages, reference, wantsPage } from './pages.ts';

/** The one place where a failure becomes an answer: a page for people, RFC 6749 §5.2 JSON for programs. */
export function errorHandler(pages: Pages): ErrorRequestHandler {
  return async (error: unknown, req, res, next) => {
    const answer = toHttpError(error);
    noteError(res, answer, error);
    if (res.headersSent) return next(error);
    if (wantsPage(req)) await sendPage(pages, req, res, answer);
    else sendJson(res, answer);
  };
}

async function sendPage(pages: Pages, req: Request, res: Response, error: HttpError): Promise<void> {
  const { title, text } = words(error);
  if (error.retryAfterSeconds !== undefined) res.setHeader('Retry-After', String(error.retryAfterSeconds));
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

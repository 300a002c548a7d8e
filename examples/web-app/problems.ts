/** Chapter 11: when something is not as it should be. Every page says what happened in a sentence, and leads on. */
import type { ErrorRequestHandler, Request, Response } from 'express';
import { WWWAuthenticateChallengeError } from 'openid-client';
import { isUnavailable } from './ask-provider.ts';
import { VisitEnded } from './refresh.ts';
import { endSession } from './session.ts';

type Way = { href: string; text: string };

/** A page with a sentence and a way on, and always one to the front page. */
export function showProblem(res: Response, status: number, title: string, text: string, way?: Way): void {
  res.status(status).render('problem', { title, text, way });
}

export function showNotFound(_req: Request, res: Response): void {
  showProblem(res, 404, 'There’s no such page', 'Check the address, or begin at the front page.');
}

/** Whatever was thrown on the way. */
export const showError: ErrorRequestHandler = (error, req, res, next) => {
  if (res.headersSent) return next(error);
  const again = { href: res.locals.wayOn ?? wayOn(req), text: 'Try again' };

  if (error instanceof VisitEnded) {
    endSession(req, res);
    const text = 'Latchkey doesn’t vouch for it any longer. Sign in again to go on where you were.';
    return showProblem(res, 403, 'Your visit has ended', text, { ...again, text: 'Sign in again' });
  }
  if (isUnavailable(error)) {
    res.set('retry-after', '10');
    const text =
      'Signing in is Latchkey’s work, and it doesn’t answer just now. You’ve done nothing wrong. Wait a moment, then go on.';
    return showProblem(res, 503, 'Latchkey is away', text, again);
  }
  // It refuses our own id and secret: registered anew, deleted, or another database.
  if (error instanceof WWWAuthenticateChallengeError) {
    console.error('Latchkey does not know this client any more. Start this app again: it registers itself anew.');
    const text =
      'It doesn’t know this library any more. Whoever runs the library has to start it again, or register it.';
    return showProblem(res, 502, 'Latchkey turned us away', text, again);
  }
  // Without its `cause`, in which libraries keep whole answers, tokens included.
  console.error(error instanceof Error ? error.stack : 'something that is no error was thrown');
  const status = typeof error?.status === 'number' && error.status >= 400 && error.status < 500 ? error.status : 500;
  showProblem(
    res,
    status,
    'Something broke on our side',
    'You did nothing wrong. Wait a minute, then try again.',
    again,
  );
};

/** The page that was asked for. A callback works once, and a form is not sent again by a link. */
function wayOn({ method, path, originalUrl }: Request): string {
  return method === 'GET' && path !== '/callback' ? originalUrl : '/profile';
}

import { type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import { isForm, readBody } from '../http/body.ts';
import { notFound } from '../http/errors.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { type AccountDependencies, noticeOf, requireAccount, sessionOf, signedIn } from './account.routes.ts';
import { type AccountSessions, describeSessions, handleOf } from './account-sessions.ts';
import type { SessionFunctions } from './login.routes.ts';

export type AccountSessionsDependencies = AccountDependencies & {
  sessions: Pick<SessionFunctions, 'current' | 'signOut'>;
  accountSessions: AccountSessions;
};

const notices = {
  ended: 'That browser is signed out.',
  others: 'All other browsers are signed out.',
};

export function accountSessionsRoutes(dependencies: AccountSessionsDependencies): Router {
  const { pages, sessions, origin, accountSessions } = dependencies;
  const guards = [sameOrigin(origin), readBody, requireAccount(dependencies)];
  const router = Router();

  router.get('/account/sessions', requireAccount(dependencies), showSessions);
  router.post('/account/sessions/:handle/end', guards, endSession);
  router.post('/account/sessions/end-others', guards, endOtherSessions);
  router.post('/account/sign-out', guards, endAllSessions);

  async function showSessions(req: Request, res: Response): Promise<void> {
    const all = describeSessions(await accountSessions.list(signedIn(res).id), sessionOf(res).uid);
    await pages.page(res, 'account-sessions', { sessions: all, notice: noticeOf(req, notices) });
  }

  async function endSession(req: Request, res: Response): Promise<void> {
    const { id } = signedIn(res);
    const session = (await accountSessions.list(id)).find(({ uid }) => handleOf(uid) === req.params.handle);
    // One that has ended meanwhile is what was asked for; to a program it is not there.
    if (!session && !isForm(req)) throw notFound();
    if (session) await accountSessions.end(id, session.uid, auditSource(req, res));
    const own = session?.uid === sessionOf(res).uid;
    if (own) await sessions.signOut(req, res);
    answer(req, res, own ? '/' : '/account/sessions?done=ended');
  }

  async function endOtherSessions(req: Request, res: Response): Promise<void> {
    await accountSessions.endOthers(signedIn(res).id, sessionOf(res).uid, auditSource(req, res));
    answer(req, res, '/account/sessions?done=others');
  }

  async function endAllSessions(req: Request, res: Response): Promise<void> {
    await accountSessions.endAll(signedIn(res).id, auditSource(req, res));
    await sessions.signOut(req, res);
    answer(req, res, '/');
  }

  return router;
}

function answer(req: Request, res: Response, next: string): void {
  if (isForm(req)) res.redirect(303, next);
  else res.status(204).end();
}

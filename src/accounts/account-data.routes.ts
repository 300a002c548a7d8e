import { type Request, type Response, Router } from 'express';
import { auditSource } from '../audit/record.ts';
import { isForm, readBody } from '../http/body.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { type AccountDependencies, requireAccount, signedIn } from './account.routes.ts';
import type { AccountSessions } from './account-sessions.ts';
import { activityDays, describeActivity, listActivity } from './activity.ts';
import type { AppsDependencies } from './apps.routes.ts';
import { type DeletionDependencies, graceDays, requestDeletion } from './deletion.ts';
import { gatherData } from './download.ts';
import type { SessionFunctions } from './login.routes.ts';
import { requireRecentSignIn } from './recent-sign-in.ts';

export type AccountDataDependencies = AccountDependencies &
  Omit<DeletionDependencies, 'eraseAccount'> &
  Pick<AppsDependencies, 'connectedApps'> & {
    sessions: Pick<SessionFunctions, 'current' | 'signOut'>;
    accountSessions: Pick<AccountSessions, 'list'>;
    /** The names of clients by id, as far as they are known. */
    appNames(clientIds: readonly string[]): Promise<ReadonlyMap<string, string>>;
    rateLimit: RateLimit;
    /** Has the logout tokens delivered that an end of a session queued. */
    deliverLogouts(): void;
  };

/** What a person may see and take away of what is kept about them, and how they leave. */
export function accountDataRoutes(dependencies: AccountDataDependencies): Router {
  const { db, pages, sessions, origin, rateLimit, connectedApps, appNames } = dependencies;
  const account = requireAccount(dependencies);
  const recent = [account, requireRecentSignIn];
  // Gathering everything is work, and nobody needs it often.
  const seldom = rateLimit('data', 10);
  const router = Router();

  router.get('/account/activity', account, showActivity);
  router.get('/account/data', account, showData);
  router.get('/account/data.json', seldom, recent, download);
  router.get('/account/deletion', recent, showDeletion);
  router.post('/account/deletion', sameOrigin(origin), readBody, recent, submitDeletion);
  router.get('/auth/account-deleted', showDeleted);

  async function showActivity(req: Request, res: Response): Promise<void> {
    const before = /^[1-9]\d{0,14}$/.test(String(req.query.before)) ? Number(req.query.before) : undefined;
    const { events, older } = await listActivity(db, signedIn(res).id, { before });
    const names = await appNames([...new Set(events.flatMap(({ clientId }) => clientId ?? []))]);
    await pages.page(res, 'account-activity', {
      days: describeActivity(events, names),
      keptDays: activityDays,
      ...(older !== undefined && { olderUrl: `/account/activity?before=${older}` }),
      ...(before !== undefined && { newestUrl: '/account/activity' }),
    });
  }

  async function showData(_req: Request, res: Response): Promise<void> {
    await pages.page(res, 'account-data', { graceDays });
  }

  async function download(req: Request, res: Response): Promise<void> {
    const data = await gatherData(dependencies, signedIn(res), auditSource(req, res));
    res
      .set('Cache-Control', 'no-store')
      .attachment('account.json')
      .type('json')
      .send(`${JSON.stringify(data, null, 2)}\n`);
  }

  async function showDeletion(_req: Request, res: Response): Promise<void> {
    const { id, email } = signedIn(res);
    const apps = (await connectedApps(id)).map(({ name }) => name);
    await pages.page(res, 'account-deletion', { email, graceDays, apps });
  }

  async function submitDeletion(req: Request, res: Response): Promise<void> {
    await requestDeletion(dependencies, signedIn(res).id, auditSource(req, res));
    dependencies.deliverLogouts();
    await sessions.signOut(req, res);
    if (isForm(req)) res.redirect(303, '/auth/account-deleted');
    else res.status(204).end();
  }

  async function showDeleted(_req: Request, res: Response): Promise<void> {
    await pages.page(res, 'account-deleted', { graceDays });
  }

  return router;
}

import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Logger } from 'pino';
import type { Database } from '../db/database.ts';
import { notFound } from '../http/errors.ts';
import { type Pages, reference } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { noStore } from '../http/security-headers.ts';
import type { Encryption } from '../keys/encryption.ts';
import { lastStepUrl, runPage } from './page.ts';
import { changeRun, createRun, deleteRun, findRun, isFull, type Run, runSeconds } from './run.ts';
import { authorizationUrl, beginRun, belongsTo, type Progress, receiveResponse, redeemCode } from './sign-in.ts';
import { beginSignOut, endSignOut, signOutUrl } from './sign-out.ts';
import { type TokenAction, useTokens } from './tokens.ts';

export type PlaygroundDependencies = {
  db: Database;
  pages: Pages;
  encryption: Encryption;
  issuer: string;
  /** The public origin, `https://id.example`. */
  origin: string;
  sameOrigin: RequestHandler;
  rateLimit?: RateLimit | undefined;
  log?: Pick<Logger, 'warn'> | undefined;
};

const runUrl = '/playground/run';

export function playgroundRoutes(dependencies: PlaygroundDependencies): Router {
  const { db, pages, encryption, issuer, origin, sameOrigin } = dependencies;
  const site = { issuer, origin };
  const secure = origin.startsWith('https:');
  const cookieName = secure ? '__Secure-latchkey_playground' : 'latchkey_playground';
  const cookie = { path: '/playground', httpOnly: true, sameSite: 'lax', secure } as const;
  const post = [sameOrigin, ...(dependencies.rateLimit ? [dependencies.rateLimit('playground', 60)] : [])];

  const router = Router();
  router.get('/playground', showStart);
  router.post('/playground/runs', post, startRun);
  router.get('/playground/return', takeResponse);
  router.get(runUrl, showRun);
  router.post(`${runUrl}/sign-out`, post, startSignOut);
  router.post(`${runUrl}/:action`, post, takeStep);
  return router;

  /** Also where the browser comes back to from a sign-out. */
  async function showStart(req: Request, res: Response): Promise<void> {
    const id = runId(req);
    const query = queryOf(req);
    if (id !== undefined && query.has('state')) {
      const run = await changeRun(db, encryption, id, (before) => endSignOut(before, query, site));
      if (run) return goTo(res, lastStepUrl(run));
    }
    const run = id === undefined ? undefined : await findRun(db, encryption, id);
    await pages.page(res, 'playground/start', { startUrl: '/playground/runs', ...(run && { runUrl }) });
  }

  async function startRun(req: Request, res: Response): Promise<void> {
    const before = runId(req);
    const run = await beginRun(site);
    if (run.stage === 'finished') dependencies.log?.warn({ issuer }, 'the playground cannot reach the issuer');
    const id = await createRun(db, encryption, run);
    if (before !== undefined) await deleteRun(db, before);
    res.cookie(cookieName, id, { ...cookie, maxAge: runSeconds * 1000 });
    goTo(res, authorizationUrl(run) ?? runUrl);
  }

  async function takeResponse(req: Request, res: Response): Promise<void> {
    const query = queryOf(req);
    const id = runId(req);
    const run = id === undefined ? undefined : await findRun(db, encryption, id);
    if (id === undefined || !run) return showGone(res);
    if (!belongsTo(run, query)) return showForeign(res);
    const received = await changeRun(db, encryption, id, (before) => receiveResponse(before, query, site));
    if (received?.stage === 'redeeming') {
      const { steps, tokens } = await redeemCode(received, site);
      await changeRun(db, encryption, id, (before) => append({ ...before, stage: 'finished' }, { steps, tokens }));
    }
    // Without the code in the address: loading the page again redeems nothing.
    goTo(res, runUrl);
  }

  async function showRun(req: Request, res: Response): Promise<void> {
    const id = runId(req);
    const run = id === undefined ? undefined : await findRun(db, encryption, id);
    if (!run) return showGone(res);
    await pages.page(res, 'playground/run', runPage(run));
  }

  async function takeStep(req: Request, res: Response): Promise<void> {
    const { action } = req.params;
    if (!isTokenAction(action)) throw notFound();
    const id = runId(req);
    const run = id === undefined ? undefined : await findRun(db, encryption, id);
    if (id === undefined || !run) return showGone(res);
    if (isFull(run)) return goTo(res, lastStepUrl(run));
    const progress = await useTokens(action, run, site);
    const changed = await changeRun(db, encryption, id, (before) => append(before, progress));
    goTo(res, changed ? `${runUrl}#step-${run.steps.length + 1}` : runUrl);
  }

  async function startSignOut(req: Request, res: Response): Promise<void> {
    const id = runId(req);
    if (id === undefined || !(await findRun(db, encryption, id))) return showGone(res);
    const run = await changeRun(db, encryption, id, (before) => beginSignOut(before, site));
    goTo(res, (run && signOutUrl(run)) ?? runUrl);
  }

  async function showGone(res: Response): Promise<void> {
    noteOutcome(res, 'playground run gone');
    const text = ['A run is kept for an hour, for the browser it was started in. Start over to see another.'];
    await pages.page(res, 'error', { title: 'This run is gone', text, action: startOver, ...reference(res) }, gone);
  }

  async function showForeign(res: Response): Promise<void> {
    noteOutcome(res, 'playground state mismatch');
    const title = 'This answer belongs to another run';
    const text = ['Its state isn’t the one this browser’s last run sent, so nothing in it was used.'];
    const second = { url: runUrl, label: 'Go to your last run' };
    await pages.page(res, 'error', { title, text, action: startOver, second, ...reference(res) }, { status: 400 });
  }

  function runId(req: Request): string | undefined {
    const prefix = `${cookieName}=`;
    const pair = req.headers.cookie?.split('; ').find((text) => text.startsWith(prefix));
    return pair?.slice(prefix.length);
  }

  function queryOf(req: Request): URLSearchParams {
    return new URL(req.originalUrl, origin).searchParams;
  }
}

const startOver = { url: '/playground', label: 'Start over' };
const gone = { status: 404 };

function append(run: Run, { steps, tokens }: Progress): Run {
  return { ...run, steps: [...run.steps, ...steps], tokens: tokens ?? run.tokens };
}

function goTo(res: Response, url: string): void {
  noStore(res);
  res.redirect(303, url);
}

function isTokenAction(action: unknown): action is TokenAction {
  return action === 'refresh' || action === 'introspection' || action === 'revocation';
}

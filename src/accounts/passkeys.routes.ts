import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import { auditSource, record } from '../audit/record.ts';
import { isForm, isPlainText, issuesOf, isVisibleText, readBody, text } from '../http/body.ts';
import { HttpError, notFound } from '../http/errors.ts';
import type { Pages } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { sameOrigin } from '../http/same-origin.ts';
import { describeUserAgent } from '../lib/user-agent.ts';
import { requireAccount, signedIn } from './account.routes.ts';
import { fieldProblems, typedText } from './field-problems.ts';
import type { SessionFunctions } from './login.routes.ts';
import { browserOf, createBrowser } from './passkey-browser.ts';
import { addPasskey, mostPasskeys, registrationOptions } from './passkey-registration.ts';
import type { PasskeySteps } from './passkey-step.ts';
import { findPasskey, listPasskeys, type PasskeyDependencies, removePasskey, renamePasskey } from './passkeys.ts';
import { requireRecentSignIn } from './recent-sign-in.ts';
import type { RelyingParty } from './relying-party.ts';

export type PasskeyRoutesDependencies = PasskeyDependencies & {
  pages: Pages;
  sessions: Pick<SessionFunctions, 'current'>;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  passkeys: PasskeySteps;
};

/** What the page after a change says has happened, by the value of `?done=`. */
const notices: Record<string, string> = {
  added: 'Your passkey is added. You can sign in with it from now on.',
  renamed: 'The name is saved.',
  removed: 'That passkey can’t sign in here any more. You can delete it from your device too.',
};

const NameForm = z.object({
  name: z
    .string({ error: 'Enter a name.' })
    .trim()
    .min(1, 'Enter a name.')
    .pipe(text(60))
    .refine(isVisibleText, 'Remove the characters that cannot be seen.'),
});

export function passkeyRoutes(dependencies: PasskeyRoutesDependencies): Router {
  const { db, pages, rateLimit, passkeys } = dependencies;
  const { relyingParty, secure } = passkeys;
  const own = sameOrigin(dependencies.origin);
  const account = requireAccount(dependencies);
  // Pages ask once as they open, for the browser's own list, and once for each try.
  const optionsLimit = rateLimit('passkey-options', 120);
  const router = Router();

  router.get('/account/passkeys', account, showPasskeys);
  router.post('/account/passkeys', own, rateLimit('passkey', 60), readBody, account, requireRecentSignIn, add);
  router.post('/account/passkeys/options', own, optionsLimit, readBody, account, requireRecentSignIn, offerAddition);
  router.get('/account/passkeys/:id', account, known(showPasskey));
  router.post('/account/passkeys/:id', own, readBody, account, known(rename));
  router.post('/account/passkeys/:id/removal', own, readBody, account, requireRecentSignIn, known(remove));
  // Used by the sign-in page wherever it stands; the answer goes where passwords go.
  router.post('/auth/passkey/options', own, optionsLimit, readBody, offerSignIn);

  async function showPasskeys(req: Request, res: Response): Promise<void> {
    const { done } = req.query;
    const notice = typeof done === 'string' && Object.hasOwn(notices, done) ? notices[done] : undefined;
    await sendPasskeys(res, 200, { notice });
  }

  async function sendPasskeys(
    res: Response,
    status: 200 | 409 | 422,
    words: { notice?: string | undefined; problem?: { title: string; text: string } },
  ): Promise<void> {
    const listed = await listPasskeys(db, signedIn(res).id);
    await pages.page(
      res,
      'passkeys',
      {
        available: relyingParty !== undefined,
        passkeys: listed.map((each) => ({ ...each, url: urlOf(each.id) })),
        ...words,
      },
      { status },
    );
  }

  async function offerAddition(req: Request, res: Response): Promise<void> {
    const browser = createBrowser(secure, req, res);
    sendOptions(res, await registrationOptions(db, requireRelyingParty(), signedIn(res), browser));
  }

  async function offerSignIn(req: Request, res: Response): Promise<void> {
    sendOptions(res, await passkeys.options(req, res, { purpose: 'sign-in' }));
  }

  function requireRelyingParty(): RelyingParty {
    if (!relyingParty) throw notFound();
    return relyingParty;
  }

  async function add(req: Request, res: Response): Promise<void> {
    const added = await addPasskey(dependencies, requireRelyingParty(), signedIn(res), {
      body: req.body,
      browser: browserOf(secure, req),
      name: nameFrom(req.headers['user-agent']),
      source: auditSource(req, res),
    });
    noteOutcome(res, `passkey ${'reason' in added ? added.reason : added.outcome}`);
    if (added.outcome === 'added') {
      if (isForm(req)) return res.redirect(303, '/account/passkeys?done=added');
      res.status(201).set('Cache-Control', 'no-store').json({ id: added.id, name: added.name });
      return;
    }
    const tooMany = added.outcome === 'too-many';
    const problem = tooMany
      ? { title: `You have ${mostPasskeys} passkeys.`, text: 'Remove one that you no longer use, then add this one.' }
      : { title: 'That passkey didn’t work here.', text: 'Nothing was added. Try again, or use another device.' };
    if (isForm(req)) return sendPasskeys(res, tooMany ? 409 : 422, { problem });
    throw new HttpError(tooMany ? 409 : 400, tooMany ? 'too_many_passkeys' : 'invalid_passkey', problem.title);
  }

  type WithPasskey = (req: Request, res: Response, passkey: { id: string; name: string }) => Promise<void>;

  /** Goes on with the passkey of the path if it is the signed-in person's. */
  function known(handle: WithPasskey): RequestHandler {
    return async (req, res) => {
      const id = String(req.params.id);
      const passkey = isPlainText(id) ? await findPasskey(db, signedIn(res).id, id) : undefined;
      if (!passkey) throw notFound();
      await handle(req, res, passkey);
    };
  }

  async function showPasskey(_req: Request, res: Response, { id, name }: { id: string; name: string }): Promise<void> {
    await pages.page(res, 'passkey', pageOf(id, name));
  }

  async function rename(req: Request, res: Response, { id, name }: { id: string; name: string }): Promise<void> {
    const form = NameForm.safeParse(req.body ?? {});
    if (form.success) {
      const accountId = signedIn(res).id;
      await db.transaction(async (tx) => {
        if (!(await renamePasskey(tx, accountId, id, form.data.name))) throw notFound();
        const source = auditSource(req, res);
        await record(tx, { event: 'passkey.renamed', accountId, source, details: { from: name, to: form.data.name } });
      });
      if (isForm(req)) return res.redirect(303, '/account/passkeys?done=renamed');
      res.status(204).end();
      return;
    }
    const issues = issuesOf(form.error);
    if (!isForm(req)) throw new HttpError(400, 'invalid_request', 'The name is not acceptable.', { issues });
    const { problem, wrong } = fieldProblems(issues);
    const typed = { value: typedText(req.body?.name), ...wrong('name') };
    await pages.page(res, 'passkey', { ...pageOf(id, name), name: typed, problem }, { status: 422 });
  }

  async function remove(req: Request, res: Response, { id, name }: { id: string; name: string }): Promise<void> {
    const removal = await removePasskey(dependencies, signedIn(res), id, auditSource(req, res));
    noteOutcome(res, `passkey ${removal.outcome}`);
    if (removal.outcome === 'unknown') throw notFound();
    if (removal.outcome === 'removed') {
      if (isForm(req)) return res.redirect(303, '/account/passkeys?done=removed');
      res.status(204).end();
      return;
    }
    const problem = {
      title: 'This passkey is your only way in.',
      text: 'Add another passkey or set a password first, then remove this one.',
    };
    if (!isForm(req)) throw new HttpError(409, 'last_way_in', `${problem.title} ${problem.text}`);
    await pages.page(res, 'passkey', { ...pageOf(id, name), problem }, { status: 409 });
  }

  return router;
}

/** Until the person gives it another: where it was made, as nothing is asked of the device itself. */
function nameFrom(userAgent: string | undefined): string {
  const { kind, words } = describeUserAgent(userAgent);
  return kind === 'program' ? 'Passkey' : words;
}

function sendOptions(res: Response, options: object): void {
  res.set('Cache-Control', 'no-store').json(options);
}

function urlOf(id: string): string {
  return `/account/passkeys/${encodeURIComponent(id)}`;
}

function pageOf(id: string, name: string) {
  return { action: urlOf(id), removeUrl: `${urlOf(id)}/removal`, heading: name, name: { value: name } };
}

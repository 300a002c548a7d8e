import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import type { Account } from '../accounts/accounts.ts';
import type { Authenticate } from '../accounts/authenticate.ts';
import type { DeviceCookies } from '../accounts/known-device.ts';
import { rememberDevice, signInError, submitCredentials } from '../accounts/login.routes.ts';
import type { PasskeySteps } from '../accounts/passkey-step.ts';
import { registrationError, sendCheckEmail, sendRegistrationClosed } from '../accounts/register.routes.ts';
import { type RegistrationDependencies, registerAccount, registerPage } from '../accounts/registration.ts';
import { withReturnTo } from '../accounts/return-to.ts';
import { passkeyOptionsPath } from '../accounts/second-factor.routes.ts';
import { signInPage } from '../accounts/sign-in-page.ts';
import type { SignInSteps } from '../accounts/sign-in-steps.routes.ts';
import { auditSource } from '../audit/record.ts';
import { hostOf } from '../clients/client-tile.ts';
import { isForm, parse, readBody } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';
import { type Pages, reference, wantsPage } from '../http/pages.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { noStore } from '../http/security-headers.ts';
import type { ClientTile, Problem } from '../http/views.ts';
import { formActionSource } from '../oidc/answers.ts';
import type { BrowserSessions } from '../oidc/browser-session.ts';
import type { Interactions, LostInteraction, PendingInteraction } from '../oidc/interactions.ts';
import { allowedBy, consentPage } from './consent-page.ts';
import { interruptedPage } from './interrupted-page.ts';
import { type InteractionStepDependencies, interactionSteps } from './sign-in-steps.routes.ts';

export type InteractionDependencies = {
  pages: Pages;
  interactions: Interactions;
  sessions: BrowserSessions;
  authenticate: Authenticate;
  registration: RegistrationDependencies;
  deviceCookies: DeviceCookies;
  passkeys: PasskeySteps;
  clientTile: (clientId: string) => Promise<ClientTile | undefined>;
  findAccount: (accountId: string) => Promise<Account | undefined>;
  accountClaims: (accountId: string) => Promise<Record<string, unknown> | undefined>;
  sameOrigin: RequestHandler;
  rateLimit: RateLimit;
  steps: SignInSteps;
} & Pick<InteractionStepDependencies, 'secondFactor' | 'hasSecondFactor' | 'expiredPassword'>;

/** One ticked box of a form arrives as a text, several as an array. */
const ticked = z.union([z.string().transform((name) => [name]), z.array(z.string())]);

const ConsentForm = z.object({
  scope: ticked.default([]),
  claim: ticked.default([]),
  detail: ticked.default([]),
  decision: z.enum(['allow', 'deny']).default('deny'),
});

export function interactionRoutes(dependencies: InteractionDependencies): Router {
  const { pages, interactions, sessions, registration, clientTile } = dependencies;
  const ownForms = dependencies.sameOrigin;
  const post = [ownForms, readBody];
  const signInLimit = dependencies.rateLimit('sign-in', 60);
  const optionsLimit = dependencies.rateLimit('passkey-options', 120);
  const further = interactionSteps({ ...dependencies, showSignIn });
  const registerLimit = dependencies.rateLimit('register', 30);
  const canRegister = registration.accountRegistration !== 'closed';

  const router = Router();
  router.get('/:uid', step(showNextStep));
  router.get('/:uid/login', step(showLogin));
  router.post('/:uid/login', ownForms, signInLimit, readBody, step(submitLogin));
  router.get('/:uid/second-factor', step(further.showSecondFactor));
  router.post('/:uid/second-factor', ownForms, signInLimit, readBody, step(further.submitSecondFactor));
  router.post(`/:uid${passkeyOptionsPath}`, ownForms, optionsLimit, readBody, step(further.offerPasskey));
  router.get('/:uid/change-password', step(further.showChangePassword));
  router.post('/:uid/change-password', ownForms, signInLimit, readBody, step(further.submitChangePassword));
  router.get('/:uid/set-up', step(further.showSetUp));
  router.get('/:uid/register', step(showRegister));
  router.post('/:uid/register', ownForms, registerLimit, readBody, step(submitRegister));
  // Where a page that answered a form is loaded again.
  router.get('/:uid/consent', step(showNextStep));
  router.post('/:uid/consent', post, step(submitConsent));
  router.get('/:uid/abort', step(showNextStep));
  router.post('/:uid/abort', post, step(abort));
  return router;

  type Step = (req: Request, res: Response, interaction: PendingInteraction) => Promise<void>;

  /** Finds the interaction for this browser, or shows why it cannot go on. */
  function step(handle: Step): RequestHandler {
    return async (req, res) => {
      noStore(res);
      const found = await interactions.find(req, res, String(req.params.uid));
      if ('pending' in found) return handle(req, res, found.pending);
      noteOutcome(res, `interaction ${found.lost.reason}`);
      await showInterrupted(req, res, found.lost);
    };
  }

  async function showInterrupted(req: Request, res: Response, lost: LostInteraction): Promise<void> {
    if (!wantsPage(req)) throw new HttpError(400, 'interaction_lost', 'This sign-in was interrupted. Start it again.');
    const [client, session] = await Promise.all([
      lost.clientId === undefined ? undefined : clientTile(lost.clientId),
      sessions.current(req, res),
    ]);
    await pages.page(res, 'interrupted', interruptedPage(lost, client, session !== undefined, reference(res)), {
      status: 400,
    });
  }

  async function showNextStep(req: Request, res: Response, interaction: PendingInteraction): Promise<void> {
    const { session, step: next } = await further.next(req, res, interaction);
    switch (next) {
      case 'second-factor':
      case 'set-up':
        return res.redirect(303, pathOf(interaction, next));
      case 'consent':
        return showConsent(req, res, interaction);
      case 'continue-as-signed-in':
        if (session && (await dependencies.findAccount(session.accountId))) {
          return goOn(req, res, await interaction.finishLogin(session));
        }
        return showLogin(req, res, interaction);
      case 'sign-in':
        return showLogin(req, res, interaction);
    }
  }

  async function showLogin(_req: Request, res: Response, interaction: PendingInteraction): Promise<void> {
    const known = interaction.accountId ? await dependencies.findAccount(interaction.accountId) : undefined;
    const switching = interaction.prompt.name === 'consent';
    await sendSignIn(res, interaction, { email: interaction.loginHint ?? (switching ? '' : known?.email) });
  }

  async function submitLogin(req: Request, res: Response, interaction: PendingInteraction): Promise<void> {
    const outcome = await submitCredentials(dependencies, req, res);
    if (outcome.outcome === 'authenticated') {
      return dependencies.steps.advance(req, res, await further.placeOf(req, res, interaction), outcome);
    }
    if (!isForm(req)) throw signInError(outcome);
    if (outcome.outcome === 'throttled') res.setHeader('Retry-After', String(outcome.retryAfterSeconds));
    await sendSignIn(res, interaction, { email: (req.body as { email?: unknown }).email, problem: outcome });
  }

  async function showSignIn(
    _req: Request,
    res: Response,
    interaction: PendingInteraction,
    problem: Problem,
    status: number,
  ): Promise<void> {
    await sendSignIn(res, interaction, { email: interaction.loginHint }, { problem, status });
  }

  async function sendSignIn(
    res: Response,
    interaction: PendingInteraction,
    state: Parameters<typeof signInPage>[1],
    instead: { problem: Problem; status: number } | undefined = undefined,
  ): Promise<void> {
    const client = await clientTile(interaction.clientId);
    const { status, data } = signInPage(
      {
        action: pathOf(interaction, 'login'),
        ...(client && { client }),
        hidden: {},
        ...(canRegister && { registerUrl: pathOf(interaction, 'register') }),
        forgotUrl: withReturnTo('/auth/forgot-password', `/auth/interaction/${interaction.uid}`),
        cancel: { action: pathOf(interaction, 'abort') },
        passkeys: dependencies.passkeys.available,
      },
      state,
    );
    const page = instead ? { ...data, problem: instead.problem } : data;
    await pages.page(res, 'sign-in', page, { status: instead?.status ?? status, ...formTargets(interaction) });
  }

  async function showRegister(_req: Request, res: Response, interaction: PendingInteraction): Promise<void> {
    await sendRegister(res, interaction);
  }

  async function submitRegister(req: Request, res: Response, interaction: PendingInteraction): Promise<void> {
    const continueTo = `/auth/interaction/${interaction.uid}`;
    const result = await registerAccount(registration, req.body, { source: auditSource(req, res), continueTo });
    noteOutcome(res, `registration ${result.outcome}`);
    if (result.outcome === 'mailed') return sendCheckEmail(dependencies, req, res, result.browser);
    if (result.outcome === 'registered') {
      rememberDevice(dependencies.deviceCookies, req, res, result.account.email);
      return signInAndGoOn(req, res, interaction, result);
    }
    if (!isForm(req)) throw registrationError(result);
    if (result.outcome === 'closed') return sendRegistrationClosed(pages, res);
    if (result.outcome === 'throttled') res.setHeader('Retry-After', String(result.retryAfterSeconds));
    await sendRegister(res, interaction, { body: req.body, problem: result });
  }

  async function sendRegister(
    res: Response,
    interaction: PendingInteraction,
    state: Parameters<typeof registerPage>[1] = {},
  ): Promise<void> {
    if (!canRegister) return sendRegistrationClosed(pages, res);
    const client = await clientTile(interaction.clientId);
    const { status, data } = registerPage(
      {
        action: pathOf(interaction, 'register'),
        ...(client && { client }),
        hidden: {},
        signInUrl: pathOf(interaction, 'login'),
      },
      state,
    );
    await pages.page(res, 'register', data, { status, ...formTargets(interaction) });
  }

  async function signInAndGoOn(
    req: Request,
    res: Response,
    interaction: PendingInteraction,
    { account }: { account: Account },
  ): Promise<void> {
    const session = await sessions.signIn(req, res, { accountId: account.id, amr: ['pwd'] });
    await goOn(req, res, await interaction.finishLogin(session));
  }

  async function showConsent(_req: Request, res: Response, interaction: PendingInteraction): Promise<void> {
    const { accountId = '', clientId } = interaction;
    const [client, claims] = await Promise.all([clientTile(clientId), dependencies.accountClaims(accountId)]);
    if (!client || !claims) throw new HttpError(400, 'interaction_lost', 'The app or the account is gone.');
    const data = consentPage(
      interaction,
      // Where the answer goes is what has to be trusted, whatever the client says of itself.
      { ...client, host: interaction.byDevice ? undefined : (hostOf(interaction.redirectUri) ?? client.host) },
      { email: String(claims.email), claims },
      { action: pathOf(interaction, 'consent'), anotherAccountUrl: pathOf(interaction, 'login') },
    );
    await pages.page(res, 'consent', data, formTargets(interaction));
  }

  async function submitConsent(req: Request, res: Response, interaction: PendingInteraction): Promise<void> {
    // Asked and answered in another tab; what is asked now is something else.
    if (interaction.prompt.name !== 'consent') return goOn(req, res, `/auth/interaction/${interaction.uid}`);
    const { decision, ...ticked } = parse(ConsentForm, req.body);
    noteOutcome(res, `consent ${decision}`);
    const answer = decision === 'allow' ? interaction.grantConsent(allowedBy(interaction, ticked)) : interaction.deny();
    await goOn(req, res, await answer);
  }

  async function abort(req: Request, res: Response, interaction: PendingInteraction): Promise<void> {
    noteOutcome(res, 'interaction aborted');
    await goOn(req, res, await interaction.deny());
  }
}

/** 303 so that a browser never sends a password on (SECURITY 23); a program is told where to go. */
async function goOn(req: Request, res: Response, location: string): Promise<void> {
  if (req.method === 'POST' && !isForm(req)) {
    res.json({ location });
    return;
  }
  res.redirect(303, location);
}

function pathOf({ uid }: PendingInteraction, step: string): string {
  return `/auth/interaction/${uid}/${step}`;
}

function formTargets({ redirectUri }: PendingInteraction): { formAction: (string | undefined)[] } {
  return { formAction: [formActionSource(redirectUri)] };
}

import type { Request, Response } from 'express';
import type { Account } from '../accounts/accounts.ts';
import type { ExpiredPasswordPages } from '../accounts/expired-password.routes.ts';
import { isRecent } from '../accounts/recent-sign-in.ts';
import type { SecondFactorPages } from '../accounts/second-factor.routes.ts';
import { isMultiFactor } from '../accounts/sign-in-progress.ts';
import type { SignInPlace } from '../accounts/sign-in-steps.routes.ts';
import type { Pages } from '../http/pages.ts';
import type { ClientTile, Problem } from '../http/views.ts';
import { formActionSource } from '../oidc/answers.ts';
import type { BrowserSessions, SignedIn } from '../oidc/browser-session.ts';
import type { PendingInteraction } from '../oidc/interactions.ts';
import { nextStep, type SignedInPerson, type Step } from './next-step.ts';

export type InteractionStepDependencies = {
  pages: Pages;
  sessions: BrowserSessions;
  secondFactor: SecondFactorPages;
  expiredPassword: ExpiredPasswordPages;
  clientTile: (clientId: string) => Promise<ClientTile | undefined>;
  findAccount: (accountId: string) => Promise<Account | undefined>;
  hasSecondFactor: (accountId: string) => Promise<boolean>;
  /** Answers with the sign-in page of the interaction, and why. */
  showSignIn(
    req: Request,
    res: Response,
    interaction: PendingInteraction,
    problem: Problem,
    status: number,
  ): Promise<void>;
};

/** The steps of a sign-in within a client's request, after the first factor. */
export function interactionSteps(dependencies: InteractionStepDependencies) {
  const { pages, sessions, secondFactor, expiredPassword, clientTile, findAccount } = dependencies;

  /** What the interaction needs now, and the session of this browser. */
  async function next(req: Request, res: Response, interaction: PendingInteraction) {
    const session = await sessions.current(req, res);
    return { session, step: nextStep(interaction, session && (await describe(session))) };
  }

  async function describe({ accountId, loginTs, amr }: SignedIn): Promise<SignedInPerson> {
    return {
      accountId,
      multiFactor: isMultiFactor(amr),
      recent: isRecent({ loginAt: new Date(loginTs * 1000) }),
      hasSecondFactor: await dependencies.hasSecondFactor(accountId),
    };
  }

  async function placeOf(req: Request, res: Response, interaction: PendingInteraction): Promise<SignInPlace> {
    const path = `/auth/interaction/${interaction.uid}`;
    const { session, step } = await next(req, res, interaction);
    const account = session && step === 'second-factor' ? await findAccount(session.accountId) : undefined;
    return {
      path,
      hidden: {},
      client: await clientTile(interaction.clientId),
      formAction: [formActionSource(interaction.redirectUri)],
      cancel: { action: `${path}/abort` },
      session: session && account && { account, amr: session.amr, renews: session.uid },
      async signIn({ account: { id: accountId }, amr, stillStands, renews }) {
        const signedIn = await sessions.signIn(req, res, { accountId, amr, stillStands, renews });
        const location = await interaction.finishLogin(signedIn);
        return { location, json: { location } };
      },
      async startAgain(problem, status) {
        if (!isSigningIn(step)) return res.redirect(303, path);
        await dependencies.showSignIn(req, res, interaction, problem, status);
      },
    };
  }

  type Handle = (req: Request, res: Response, place: SignInPlace) => Promise<void>;
  const at = (handle: Handle) => async (req: Request, res: Response, interaction: PendingInteraction) =>
    handle(req, res, await placeOf(req, res, interaction));

  return {
    next,
    placeOf,
    showSecondFactor: at(secondFactor.show),
    submitSecondFactor: at(secondFactor.submit),
    offerPasskey: at(secondFactor.offerPasskey),
    showChangePassword: at(expiredPassword.show),
    submitChangePassword: at(expiredPassword.submit),

    /** The client asks for two steps and the account has one: where to set up the other, and no to the client. */
    async showSetUp(req: Request, res: Response, interaction: PendingInteraction): Promise<void> {
      const path = `/auth/interaction/${interaction.uid}`;
      const [{ session, step }, client] = await Promise.all([
        next(req, res, interaction),
        clientTile(interaction.clientId),
      ]);
      if (step !== 'set-up' || !session || !client) return res.redirect(303, path);
      const administrator = (await findAccount(session.accountId))?.administratorSince != null;
      const setUpUrl = `/account/two-step/set-up?return_to=${encodeURIComponent(path)}`;
      const data = { client, administrator, setUpUrl, cancel: { action: `${path}/abort` } };
      await pages.page(res, 'second-factor-needed', data, { formAction: [formActionSource(interaction.redirectUri)] });
    },
  };
}

/** Anything else has a page of its own to go on with. */
function isSigningIn(step: Step): boolean {
  return step === 'sign-in' || step === 'second-factor';
}

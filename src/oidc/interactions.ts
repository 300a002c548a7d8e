import type { IncomingMessage, ServerResponse } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import type { Interaction } from 'oidc-provider';
import type { ApiDirectory } from '../apis/api-directory.ts';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { acrOf } from './acr.ts';
import { type AskedDetail, askedDetails, consentToDetails } from './authorization-details.ts';
import type { BrowserSessions, SignedIn } from './browser-session.ts';
import { type ApiScopes, type Consent, findConsent, isConsentHeld, saveConsent } from './consents.ts';
import { shortCookie } from './cookies.ts';
import { applyConsent, grantIdOf } from './grants.ts';
import { findPastInteraction, type PastInteraction, signedInWith } from './interaction-store.ts';
import type { ProviderHandle } from './provider.ts';
import { requestSource } from './request-source.ts';
import { type AskedApi, askedApis } from './resource-servers.ts';
import { requestedClaims, scopeClaims, supportedScopes } from './scopes.ts';

/** A question to the person in this browser that is still open. */
export type PendingInteraction = {
  uid: string;
  prompt: { name: string; reasons: readonly string[] };
  clientId: string;
  /** The account that the question is for; undefined until somebody signed in. */
  accountId: string | undefined;
  loginHint: string | undefined;
  /** Whether a device asks (RFC 8628), which has no address that the answer goes to. */
  byDevice: boolean;
  /** Where an answer or a refusal will send the browser in the end: its forms must be allowed to go there. */
  redirectUri: string | undefined;
  /**
   * Scopes besides openid, single claims that no requested scope covers, APIs with the scopes asked for there, and
   * authorization details (RFC 9396).
   */
  asked: { scopes: string[]; claims: string[]; apis: AskedApi[]; details: AskedDetail[] };
  /** What this account said to this client before. */
  remembered: Consent | undefined;
  /** Each answers the question and gives the address to send the browser to. */
  finishLogin(session: SignedIn): Promise<string>;
  grantConsent(granted: Granted): Promise<string>;
  deny(): Promise<string>;
};

/** What of it a person allowed, details by their place; anything that was not asked for is passed over. */
export type Granted = {
  scopes: readonly string[];
  claims: readonly string[];
  apiScopes: ApiScopes;
  details: readonly number[];
};

/** Why a browser cannot go on with an interaction, and what is known to offer a way on. */
export type LostInteraction = {
  reason: 'expired' | 'finished' | 'elsewhere' | 'other-account';
  clientId: string | undefined;
  /** A path on this origin that starts the same request again; for a device's, where its code is typed. */
  restartPath: string | undefined;
  byDevice: boolean;
};

export type Interactions = ReturnType<typeof interactions>;

/** Access to pending interactions, bound to the browser that holds their cookie (SECURITY 29). */
export function interactions(
  provider: ProviderHandle,
  sessions: BrowserSessions,
  db: Database,
  directory: ApiDirectory,
) {
  return {
    /** The open interaction `uid`, or why there is none for this browser. */
    async find(
      req: IncomingMessage,
      res: ServerResponse,
      uid: string,
    ): Promise<{ pending: PendingInteraction } | { lost: LostInteraction }> {
      const { cookies } = provider.current.createContext(req, res);
      const held = cookies.get(provider.current.cookieName('interaction'), shortCookie) === uid;
      const interaction = held ? await provider.current.Interaction.find(uid) : undefined;
      if (!interaction) return { lost: await describeLost(uid) };
      const accountId = interaction.session?.accountId;
      if (accountId && interaction.prompt.name !== 'login') {
        const current = await sessions.current(req, res);
        if (current?.accountId !== accountId) {
          const lost = await describeLost(uid);
          return { lost: current ? { ...lost, reason: 'other-account' } : lost };
        }
      }
      return { pending: await pendingInteraction(provider, db, directory, interaction, requestSource({ req, res })) };
    },
    describeLost,
  };

  async function describeLost(uid: string): Promise<LostInteraction> {
    const past = await findPastInteraction(db, uid);
    if (!past) return { reason: 'expired', clientId: undefined, restartPath: undefined, byDevice: false };
    const reason = past.state === 'pending' ? 'elsewhere' : past.state;
    return { reason, clientId: past.clientId, restartPath: restartPath(past), byDevice: past.byDevice };
  }
}

/** The same authorization request once more, when all of it is known and a browser may make it. */
function restartPath({ params, notByBrowser, byDevice }: PastInteraction): string | undefined {
  if (byDevice) return '/oidc/device';
  if (notByBrowser || params.request || params.request_uri || !params.client_id) return undefined;
  return `/oidc/auth?${new URLSearchParams(params)}`;
}

async function pendingInteraction(
  provider: ProviderHandle,
  db: Database,
  directory: ApiDirectory,
  interaction: Interaction,
  source: AuditSource,
): Promise<PendingInteraction> {
  const params = interaction.params as Record<string, string | undefined>;
  const clientId = params.client_id as string;
  const accountId = interaction.session?.accountId;
  const scopes = (params.scope ?? '')
    .split(' ')
    .filter((scope) => scope !== 'openid' && supportedScopes.includes(scope));
  const claims = requestedClaims(params.claims);
  const apis = await askedApis(directory, clientId, params);
  const details = await askedDetails(db, params.authorization_details);
  const covered = scopes.flatMap((scope) => scopeClaims[scope] ?? []);

  const finish = async (result: NonNullable<Interaction['result']>) => {
    interaction.result = result;
    await interaction.persist();
    return interaction.returnTo;
  };

  return {
    uid: interaction.uid,
    prompt: { name: interaction.prompt.name, reasons: interaction.prompt.reasons },
    clientId,
    accountId,
    loginHint: params.login_hint,
    byDevice: interaction.deviceCode !== undefined,
    redirectUri: params.redirect_uri,
    asked: { scopes, claims: claims.filter((claim) => !covered.includes(claim)), apis, details },
    remembered: accountId ? await findConsent(db, accountId, clientId) : undefined,

    finishLogin: (session) =>
      finish({
        login: {
          accountId: session.accountId,
          ts: session.loginTs,
          amr: [...session.amr],
          acr: acrOf(session.amr),
          [signedInWith]: session.uid,
        },
      }),

    async grantConsent(granted) {
      const { session } = interaction;
      if (!session?.accountId || !session.uid) throw new Error('consent was asked of nobody');
      const answered = (has: (api: string, scope: string) => boolean): ApiScopes =>
        Object.fromEntries(
          apis.map(({ identifier, scopes }) => [
            identifier,
            Object.keys(scopes).filter((scope) => has(identifier, scope)),
          ]),
        );
      const isGranted = (claim: string) =>
        granted.claims.includes(claim) || granted.scopes.some((scope) => scopeClaims[scope]?.includes(claim));
      const answer: Consent = {
        grantedScopes: ['openid', ...scopes.filter((scope) => granted.scopes.includes(scope))],
        refusedScopes: scopes.filter((scope) => !granted.scopes.includes(scope)),
        grantedClaims: claims.filter(isGranted),
        refusedClaims: claims.filter((claim) => !isGranted(claim)),
        grantedApiScopes: answered((api, scope) => granted.apiScopes[api]?.includes(scope) ?? false),
        refusedApiScopes: answered((api, scope) => !granted.apiScopes[api]?.includes(scope)),
      };
      const said = await saveConsent(db, { accountId: session.accountId, clientId, source }, answer);
      const grantId = grantIdOf(session.uid, session.accountId, clientId);
      await writeGrant(provider, db, { grantId, accountId: session.accountId, clientId, said });
      // The sign-in of an earlier step belongs to the same answer: without it prompt=login would be asked again.
      const allowed = details.filter((_, index) => granted.details.includes(index));
      return finish({ ...interaction.lastSubmission, consent: { grantId, ...consentToDetails(allowed) } });
    },

    async deny() {
      if (interaction.prompt.name === 'consent') {
        await record(db, { event: 'consent.refused', accountId, clientId, source, details: { asked: scopes } });
      }
      return finish({ error: 'access_denied', error_description: 'The person did not allow it.' });
    },
  };
}

/** Another tab may have been answered meanwhile: whoever writes last must write what was said in both. */
async function writeGrant(
  { current: { Grant } }: ProviderHandle,
  db: Database,
  { grantId, accountId, clientId, said }: { grantId: string; accountId: string; clientId: string; said: Consent },
): Promise<void> {
  const grant =
    (await Grant.find(grantId)) ??
    new Grant({ jti: grantId, accountId, clientId } as ConstructorParameters<typeof Grant>[0]);
  let latest: Consent | undefined = said;
  let written: Consent | undefined;
  while (latest && !isDeepStrictEqual(latest, written)) {
    applyConsent(grant, latest);
    await grant.save();
    written = latest;
    latest = await findConsent(db, accountId, clientId);
  }
  if (!(await isConsentHeld(db, accountId, clientId))) await grant.destroy();
}

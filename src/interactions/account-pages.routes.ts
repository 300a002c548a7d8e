/** The signed-in person's own pages, put together from what knows people and what knows their sessions and clients. */
import { Router } from 'express';
import { type AccountDependencies, accountRoutes } from '../accounts/account.routes.ts';
import { accountDataRoutes } from '../accounts/account-data.routes.ts';
import { accountSessionsRoutes } from '../accounts/account-sessions.routes.ts';
import type { AccountSessions } from '../accounts/account-sessions.ts';
import { appsRoutes } from '../accounts/apps.routes.ts';
import type { Attempts } from '../accounts/attempts.ts';
import type { Authenticate } from '../accounts/authenticate.ts';
import type { DeviceCookies } from '../accounts/known-device.ts';
import type { SessionFunctions } from '../accounts/login.routes.ts';
import type { PasskeySteps } from '../accounts/passkey-step.ts';
import { passkeyRoutes } from '../accounts/passkeys.routes.ts';
import { confirmRoutes } from '../accounts/recent-sign-in.routes.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import type { ClientTile } from '../http/views.ts';
import type { Encryption } from '../keys/encryption.ts';
import { listSessions } from '../oidc/account-sessions.ts';
import { withdrawConsent } from '../oidc/consents.ts';
import { endOtherSessions, endSessionByUid, endSessionsOf, signOutEverywhere } from '../oidc/session-end.ts';
import { connectedApps } from './connected-apps.ts';

export type AccountPagesDependencies = AccountDependencies & {
  sessions: SessionFunctions;
  authenticate: Authenticate;
  encryption: Encryption;
  attempts: Attempts;
  deviceCookies: DeviceCookies;
  passkeys: PasskeySteps;
  rateLimit: RateLimit;
  clientTile(clientId: string): Promise<ClientTile | undefined>;
  /** Has the logout tokens delivered that an end of a session queued. */
  deliverLogouts(): void;
};

export function accountPagesRoutes(dependencies: AccountPagesDependencies): Router {
  const { db, clientTile, deliverLogouts } = dependencies;
  const accountSessions: AccountSessions = {
    list: (accountId) => listSessions(db, accountId),
    end: async (accountId, uid, source) => {
      await endSessionByUid(db, accountId, uid, source);
      deliverLogouts();
    },
    endOthers: async (accountId, uid, source) => {
      await endOtherSessions(db, accountId, uid, source);
      deliverLogouts();
    },
    endAll: async (accountId, source) => {
      await signOutEverywhere(db, accountId, source);
      deliverLogouts();
    },
  };
  const pages = {
    ...dependencies,
    accountSessions,
    connectedApps: (accountId: string) => connectedApps(db, clientTile, accountId),
    disconnectApp: (accountId: string, clientId: string, source: Parameters<typeof withdrawConsent>[3]) =>
      withdrawConsent(db, accountId, clientId, source),
    endSessions: endSessionsOf,
    async appNames(clientIds: readonly string[]) {
      const tiles = await Promise.all(clientIds.map(clientTile));
      return new Map(clientIds.map((clientId, position) => [clientId, tiles[position]?.name ?? clientId]));
    },
  };
  return Router().use(
    confirmRoutes(pages),
    passkeyRoutes(pages),
    accountRoutes(pages),
    accountSessionsRoutes(pages),
    appsRoutes(pages),
    accountDataRoutes(pages),
  );
}

import type { ConnectedApp } from '../accounts/apps.routes.ts';
import { findApis } from '../apis/apis.ts';
import type { Database } from '../db/database.ts';
import type { ClientTile } from '../http/views.ts';
import { listConsents } from '../oidc/consents.ts';
import { scopeTitles } from './consent-page.ts';

/** The apps that an account has allowed something, newest first. */
export async function connectedApps(
  db: Database,
  clientTile: (clientId: string) => Promise<ClientTile | undefined>,
  accountId: string,
): Promise<ConnectedApp[]> {
  const consents = await listConsents(db, accountId);
  const apis = await findApis(db, [...new Set(consents.flatMap(({ apiScopes }) => Object.keys(apiScopes)))]);
  return Promise.all(
    consents.map(async ({ clientId, scopes, apiScopes, since }) => {
      const tile = await clientTile(clientId);
      return {
        clientId,
        name: tile?.name ?? clientId,
        logoUrl: tile?.logoUrl,
        since,
        scopes: scopeTitles(scopes, apiScopes, apis),
      };
    }),
  );
}

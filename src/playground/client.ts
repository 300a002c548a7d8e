import { deleteClient } from '../clients/clients.ts';
import type { Database } from '../db/database.ts';
import { type ClientMetadata, oidcClients } from '../db/schema.ts';

export const clientId = 'playground';
export const scope = 'openid profile email offline_access';

/** Where the browser comes back to after signing in, and after signing out. */
export const redirectUri = (origin: string) => `${origin}/playground/return`;
export const postLogoutRedirectUri = (origin: string) => `${origin}/playground`;

/** Registers the playground as a public client, or brings its registration up to date. `origin` is the server's own. */
export async function ensurePlaygroundClient(db: Database, origin: string): Promise<void> {
  const metadata: ClientMetadata = {
    client_name: 'Playground',
    client_uri: `${origin}/playground`,
    redirect_uris: [redirectUri(origin)],
    post_logout_redirect_uris: [postLogoutRedirectUri(origin)],
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
    scope,
  };
  const row = { metadata, secretHash: null, registeredBy: 'operator', firstParty: false } as const;
  await db
    .insert(oidcClients)
    .values({ clientId, ...row })
    .onConflictDoUpdate({ target: oidcClients.clientId, set: { ...row, updatedAt: new Date() } });
}

/** Takes the playground out of the clients; what people allowed it goes with it, and its tokens stop working. */
export async function removePlaygroundClient(db: Database): Promise<void> {
  await deleteClient(db, clientId);
}

import type { Database } from '../db/database.ts';
import type { ClientTile } from '../http/views.ts';
import { isUnverified } from './client-facts.ts';
import { type Client, findClient } from './clients.ts';
import { logoPath } from './logos.ts';

/** Clients as people see them: a name, a logo served from here, links, and where they will be sent. */
export function createClientTiles({ db, refreshLogo }: { db: Database; refreshLogo: (client: Client) => void }) {
  return async (clientId: string): Promise<ClientTile | undefined> => {
    const client = await findClient(db, clientId);
    if (!client) return undefined;
    const { client_name, client_uri, policy_uri, tos_uri, redirect_uris = [] } = client.metadata;
    return {
      name: text(client_name) ?? clientId,
      logoUrl: await logoPath(db, client, refreshLogo),
      uri: text(client_uri),
      host: hostOf(redirect_uris[0]),
      documentHost: client.registeredBy === 'document' ? hostOf(clientId) : undefined,
      policyUri: text(policy_uri),
      tosUri: text(tos_uri),
      unverified: isUnverified(client),
    };
  };
}

/** The host that a redirect goes to, or the scheme of the app that takes it. */
export function hostOf(uri: string | undefined): string | undefined {
  if (uri === undefined || !URL.canParse(uri)) return undefined;
  const { host, protocol } = new URL(uri);
  return host || protocol;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

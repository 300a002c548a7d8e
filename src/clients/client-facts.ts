import type { ClientMetadata } from '../db/schema.ts';
import { needsSecret } from './client-metadata.ts';
import { placeholderSecret } from './client-secret.ts';
import type { Client } from './clients.ts';
import { isUnused } from './unused-clients.ts';

/** What the consent page shows anyone. */
export function publicFacts({ clientId, metadata }: Client): ClientMetadata {
  const shown = ['client_name', 'client_uri', 'logo_uri', 'policy_uri', 'tos_uri'].filter((name) => name in metadata);
  return { client_id: clientId, ...Object.fromEntries(shown.map((name) => [name, metadata[name]])) };
}

/** All that is registered (RFC 7591 §3.2.1), and never a secret. */
export function fullMetadata({ clientId, metadata, createdAt }: Client): ClientMetadata {
  return { client_id: clientId, client_id_issued_at: Math.floor(createdAt.getTime() / 1000), ...metadata };
}

/** Keys fetched from a `jwks_uri` are used no longer than this, so that one taken from there stops working. */
const keysLastMs = 10 * 60 * 1000;

const keysAsOf = () => Math.floor(Date.now() / keysLastMs);

/** The client as the protocol library's model `Client` reads it. While it stays the same, so do the keys that were fetched for it. */
export function libraryPayload(client: Client): ClientMetadata {
  const { clientId, metadata, firstParty, authorizationMetadata } = client;
  return {
    ...metadata,
    client_id: clientId,
    ...(needsSecret(metadata) && { client_secret: placeholderSecret }),
    first_party: firstParty,
    ...(authorizationMetadata && { authorization_metadata: authorizationMetadata }),
    unverified: isUnverified(client),
    ...(isUnused(client) && { unused: true }),
    ...(metadata.jwks_uri !== undefined && { keys_as_of: keysAsOf() }),
  };
}

/** Answers `libraryPayload` with the same object as long as it would say the same of the same client. */
export function createLibraryPayloads(): (client: Client) => ClientMetadata {
  const made = new WeakMap<Client, ClientMetadata>();
  return (client) => {
    const earlier = made.get(client);
    if (earlier && (earlier.keys_as_of ?? keysAsOf()) === keysAsOf()) return earlier;
    // The library notes a certificate's thumbprint beside the key that came with it.
    const payload = structuredClone(libraryPayload(client));
    made.set(client, payload);
    return payload;
  };
}

/** Nobody vouches for it: registered by whoever came along, or a document anywhere (RFC 9700 §4.11.2). */
export function isUnverified({ registeredBy, firstParty }: Client): boolean {
  return (registeredBy === 'open' || registeredBy === 'document') && !firstParty;
}

/** The bcrypt hashes of the secrets that are good now: the current one, and the one before in its time of grace. */
export function secretHashes(client: Client, now = new Date()): string[] {
  const { secretHash, previousSecretHash, previousSecretExpiresAt } = client;
  const inGrace = previousSecretExpiresAt !== null && previousSecretExpiresAt > now;
  return [secretHash, inGrace ? previousSecretHash : null].filter((hash) => hash !== null);
}

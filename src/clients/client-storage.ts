import type { Database } from '../db/database.ts';
import { type ClientMetadata, oidcClients } from '../db/schema.ts';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import { libraryPayload, secretHashes } from './client-facts.ts';
import { createSecretVerifier, placeholderSecret } from './client-secret.ts';
import { deleteClient, findClient } from './clients.ts';

/** How the protocol library finds, stores and authenticates clients. Secrets leave its hands as bcrypt only. */
export function createClientStorage({ db, bcrypt }: { db: Database; bcrypt: Bcrypt }) {
  const verifier = createSecretVerifier({ bcrypt });
  return {
    async find(clientId: string): Promise<ClientMetadata | undefined> {
      const client = await findClient(db, clientId);
      return client && libraryPayload(client);
    },

    async upsert(clientId: string, payload: ClientMetadata): Promise<void> {
      const { client_id, client_secret, client_secret_expires_at, client_id_issued_at, ...rest } = payload;
      const { first_party, unverified, ...metadata } = rest;
      const isNew = typeof client_secret === 'string' && client_secret !== placeholderSecret;
      const values = {
        metadata,
        ...(isNew && { secretHash: await bcrypt.hash(client_secret) }),
        ...(client_secret === undefined && {
          secretHash: null,
          previousSecretHash: null,
          previousSecretExpiresAt: null,
        }),
        updatedAt: new Date(),
      };
      await db
        .insert(oidcClients)
        .values({ clientId, registeredBy: 'open', ...values })
        .onConflictDoUpdate({ target: oidcClients.clientId, set: values });
    },

    async destroy(clientId: string): Promise<void> {
      await deleteClient(db, clientId);
    },

    /** True when `presented` is a secret of the client that is good now. Throws `BusyError`. */
    async verifySecret(clientId: string, presented: string): Promise<boolean> {
      const client = await findClient(db, clientId);
      return client !== undefined && verifier.verify(secretHashes(client), presented);
    },
  };
}

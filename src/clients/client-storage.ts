import type { AuditSource } from '../audit/events.ts';
import type { Database } from '../db/database.ts';
import type { ClientMetadata } from '../db/schema.ts';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import type { ClientDirectory } from './client-directory.ts';
import { createLibraryPayloads, secretHashes } from './client-facts.ts';
import { createSecretVerifier } from './client-secret.ts';
import type { Client } from './clients.ts';
import type { FindDocumentClient } from './document-clients.ts';
import { isDocumentAddress } from './metadata-document.ts';
import { markClientUsed } from './unused-clients.ts';

export type ClientStorageDependencies = {
  db: Database;
  findClient: ClientDirectory;
  bcrypt: Bcrypt;
  production: boolean;
  /** Absent where client ID metadata documents are off: their clients are then none. */
  findDocumentClient?: FindDocumentClient | undefined;
};

/** How the protocol library finds and authenticates clients. It never stores any: both doors of registration are ours. */
export function createClientStorage(dependencies: ClientStorageDependencies) {
  const { db, findClient, bcrypt, findDocumentClient } = dependencies;
  const verifier = createSecretVerifier({ bcrypt });
  const payloadOf = createLibraryPayloads();

  async function findUsable(clientId: string, source: AuditSource | undefined): Promise<Client | undefined> {
    if (findDocumentClient && isDocumentAddress(clientId, dependencies)) return findDocumentClient(clientId, source);
    const client = await findClient(clientId);
    return client?.registeredBy === 'document' ? undefined : client;
  }

  return {
    /** `source`, when the client itself is asking. Throws `HttpError` for a document that cannot be had or is refused. */
    async find(clientId: string, source?: AuditSource): Promise<ClientMetadata | undefined> {
      const client = await findUsable(clientId, source);
      return client && payloadOf(client);
    },

    markUsed: (clientId: string): Promise<void> => markClientUsed(db, clientId),

    /** True when `presented` is a secret of the client that is good now. Throws `BusyError`. */
    async verifySecret(clientId: string, presented: string): Promise<boolean> {
      const client = await findClient(clientId);
      return client !== undefined && verifier.verify(secretHashes(client), presented);
    },
  };
}

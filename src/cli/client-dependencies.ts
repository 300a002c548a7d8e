import { listAuthorizationDetailsTypes } from '../apis/authorization-details-types.ts';
import type { ClientDependencies } from '../clients/clients.ts';
import type { Config } from '../config.ts';
import type { Database } from '../db/database.ts';
import { createOutbound } from '../http/outbound.ts';
import { createEncryption } from '../keys/encryption.ts';
import { loadSigningKeys } from '../keys/signing-keys.ts';
import { createBcryptPool } from '../lib/bcrypt-pool.ts';
import { clientValidator } from '../oidc/client-validation.ts';
import { libraryPages } from '../oidc/pages.ts';
import { createProvider } from '../oidc/provider.ts';
import { withDatabase } from './database.ts';

/** Runs `work` with what registering and changing clients takes: the same validator and hashes as behind the routes. */
export function withClientDependencies<T>(
  work: (db: Database, dependencies: ClientDependencies, config: Config) => Promise<T>,
): Promise<T> {
  return withDatabase(async (db, config) => {
    const bcrypt = createBcryptPool({ rounds: config.bcryptRounds });
    const outbound = createOutbound({ allow: config.outboundAllow });
    try {
      const validate = clientValidator(await providerForValidation(db, config, outbound.fetch));
      return await work(db, { validate, bcrypt, production: config.production }, config);
    } finally {
      await bcrypt.close();
      await outbound.close();
    }
  });
}

const nothing = async () => undefined;
const none = async () => [];
const noPage = async () => '';

/** A provider that is never asked for a page, a person or a stored client: what metadata it takes depends on none of them. */
function providerForValidation(db: Database, config: Config, fetch: typeof globalThis.fetch) {
  const encryption = createEncryption(config.encryptionKeys);
  return createProvider({
    ...config,
    db,
    encryption,
    fetch,
    loadKeys: () => loadSigningKeys(db, encryption, config.jwksPrivateKey),
    loadAuthorizationDetailsTypes: () => listAuthorizationDetailsTypes(db),
    apis: {
      findAccess: none,
      findOnlyAccess: nothing,
      findClientApis: none,
      listOpenScopes: none,
      findExchangeModes: none,
    },
    clients: { find: nothing, markUsed: nothing },
    accountClaims: nothing,
    verifyClientSecret: async () => false,
    noteEvent: () => {},
    warn: () => {},
    pairwiseSalt: '',
    dPoPNonceSecret: Buffer.alloc(32),
    pages: libraryPages({
      error: noPage,
      interrupted: noPage,
      heldRedirect: noPage,
      logout: noPage,
      loggedOut: noPage,
    }),
    devicePages: { code: noPage, confirm: noPage, ended: noPage },
  });
}

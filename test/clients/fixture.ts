/** The clients feature alone on an Express app, with the protocol library's own validator behind it. */
import express, { type ErrorRequestHandler, type Express } from 'express';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { afterAll, beforeAll } from 'vitest';
import { type ClientRoutesDependencies, clientRoutes } from '../../src/clients/clients.routes.ts';
import type { Client, ClientDependencies } from '../../src/clients/clients.ts';
import type { Database } from '../../src/db/database.ts';
import type { ClientMetadata } from '../../src/db/schema.ts';
import { HttpError } from '../../src/http/errors.ts';
import { createOutbound } from '../../src/http/outbound.ts';
import { type BcryptPool, createBcryptPool } from '../../src/lib/bcrypt-pool.ts';
import { openTestDatabase } from '../support/database.ts';

export const origin = 'http://op.example';

/** A validator made like the provider's: authorization code, refresh tokens and client credentials, no HMAC. */
export async function createValidate(fetch: typeof globalThis.fetch): Promise<ClientDependencies['validate']> {
  const keys = [await exportJWK((await generateKeyPair('RS256', { extractable: true })).privateKey)];
  const asymmetric = ['RS256', 'ES256'] as const;
  const provider = new Provider(origin, {
    jwks: { keys },
    adapter: class {} as never,
    cookies: { keys: ['unused'] },
    responseTypes: ['code'],
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    subjectTypes: ['public', 'pairwise'],
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    enabledJWA: { clientAuthSigningAlgValues: [...asymmetric], requestObjectSigningAlgValues: [...asymmetric] },
    features: { devInteractions: { enabled: false }, clientCredentials: { enabled: true } },
    extraClientMetadata: { properties: ['require_pkce', 'first_party', 'unverified'] },
    fetch,
    fetchResponseBodyLimits: { sector_identifier_uri: 65_536 },
  });
  const LibraryClient = provider.Client as unknown as {
    new (metadata: ClientMetadata): { metadata(): ClientMetadata };
    validate(metadata: ClientMetadata): Promise<void>;
  };
  return async (metadata) => {
    await LibraryClient.validate(metadata);
    return new LibraryClient(metadata).metadata();
  };
}

export type Fixture = ClientDependencies & {
  db: Database;
  pool: BcryptPool;
  /** Clients whose logo was asked for. */
  logosAsked: Client[];
  app(options?: Partial<ClientRoutesDependencies>): Express;
};

/** Opened before all tests of the file that calls this, closed after them. */
export function useClients(): Fixture {
  const fixture = { production: true, logosAsked: [] as Client[] } as unknown as Fixture;
  const closing: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    const { db, close } = await openTestDatabase();
    const pool = createBcryptPool({ rounds: 4, threads: 1 });
    const outbound = createOutbound({ allow: [] });
    closing.push(outbound.close, pool.close, close);
    const validate = await createValidate(outbound.fetch);
    Object.assign(fixture, { db, pool, bcrypt: pool, validate });
  });

  afterAll(async () => {
    for (const close of closing) await close();
  });

  fixture.app = (options) => {
    const app = express();
    app.use(
      clientRoutes({
        ...fixture,
        // Tests share an address; the one about the limit brings it along.
        rateLimit: () => (_req, _res, next) => next(),
        origin,
        clientRegistration: 'open',
        allowedOrigins: [],
        refreshLogo: (client) => fixture.logosAsked.push(client),
        ...options,
      }),
    );
    app.use(sendError);
    return app;
  };
  return fixture;
}

const sendError: ErrorRequestHandler = (error, _req, res, _next) => {
  if (!(error instanceof HttpError)) {
    res.status(error.status ?? 500).json({ error: 'server_error', error_description: String(error.stack) });
    return;
  }
  if (error.retryAfterSeconds !== undefined) res.set('Retry-After', String(error.retryAfterSeconds));
  res.status(error.status).json({ error: error.code, error_description: error.message, issues: error.issues });
};

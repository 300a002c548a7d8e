/** The composition root: builds the features, hands each what it asks for, and mounts them in order. */
import type { RequestListener } from 'node:http';
import express, { type Express, type Response } from 'express';
import type { Logger } from 'pino';
import { type Account, findActiveAccount, isActiveAccount } from './accounts/accounts.ts';
import { accountClaims } from './accounts/claims.ts';
import { cancelDeletion } from './accounts/deletion.ts';
import { createApiDirectory } from './apis/api-directory.ts';
import { listAuthorizationDetailsTypes } from './apis/authorization-details-types.ts';
import { createClientDirectory } from './clients/client-directory.ts';
import { createClientStorage } from './clients/client-storage.ts';
import { createClientTiles } from './clients/client-tile.ts';
import { clientRoutes } from './clients/clients.routes.ts';
import type { Client } from './clients/clients.ts';
import { createDocumentClients } from './clients/document-clients.ts';
import { refreshLogo as copyLogo } from './clients/logos.ts';
import type { Config } from './config.ts';
import type { OpenDatabase } from './db/database.ts';
import { createNotices } from './db/notices.ts';
import { seenRoutes } from './doctor/seen.routes.ts';
import { assets } from './http/assets.ts';
import { clientCertificateHeader } from './http/client-certificate.ts';
import { errorHandler } from './http/error-handler.ts';
import { notFound } from './http/errors.ts';
import { asSentTo, pinHost } from './http/host.ts';
import { createOutbound } from './http/outbound.ts';
import { createPages } from './http/pages.ts';
import { rateLimits } from './http/rate-limit.ts';
import { noteOutcome, requestLog } from './http/request-log.ts';
import { sameOrigin } from './http/same-origin.ts';
import { createContentSecurityPolicy, securityHeaders } from './http/security-headers.ts';
import { createViews } from './http/views.ts';
import { wrongMethod } from './http/wrong-method.ts';
import { type DevicePageDependencies, devicePages } from './interactions/device-pages.ts';
import { peopleRoutes } from './interactions/people.routes.ts';
import { providerPages } from './interactions/provider-pages.ts';
import { loadAuditKey } from './keys/audit-key.ts';
import { createEncryption } from './keys/encryption.ts';
import { loadProviderSecret } from './keys/provider-secret.ts';
import { loadSigningKeys } from './keys/signing-keys.ts';
import { createBackground } from './lib/background.ts';
import { createBcryptPool } from './lib/bcrypt-pool.ts';
import { outboxRoutes } from './mail/outbox.routes.ts';
import { mailSettings, startMail, wakeAfterPost } from './mail/start.ts';
import { administrator } from './oidc/administrators.ts';
import { logoutDelivery } from './oidc/backchannel-logout.ts';
import { browserSessions } from './oidc/browser-session.ts';
import { clientValidator } from './oidc/client-validation.ts';
import { fastPath } from './oidc/fast-path.ts';
import { interactions as createInteractions } from './oidc/interactions.ts';
import { endpointLimits, mountRoutes } from './oidc/mount.routes.ts';
import { libraryPages } from './oidc/pages.ts';
import { createProvider } from './oidc/provider.ts';
import { startAuditJobs } from './ops/audit-jobs.ts';
import { followStored } from './ops/follow.ts';
import { healthRoutes } from './ops/health.routes.ts';
import { homeRoutes } from './ops/home.routes.ts';
import { startKeyJobs } from './ops/key-jobs.ts';
import { metricsRoutes, watchRequests } from './ops/metrics.routes.ts';
import type { Siblings } from './ops/metrics-workers.ts';
import { observe } from './ops/observe.ts';
import { createReadiness } from './ops/readiness.ts';
import { restWhenQuiet } from './ops/rest.ts';
import { sweepLag } from './ops/sweep.ts';
import { startSweep } from './ops/sweep-job.ts';
import { ensurePlaygroundClient, removePlaygroundClient } from './playground/client.ts';
import { playgroundRoutes } from './playground/playground.routes.ts';
import { createSessions } from './sessions/sessions.ts';

export type AppDependencies = {
  config: Config;
  database: OpenDatabase;
  log: Logger;
  /** False in all workers but one: what one process can do for the whole server, another one does. */
  leads?: boolean;
  /** The other workers, where there are several: a scrape hears of all. */
  siblings?: Siblings;
};

export type App = {
  handler: RequestListener;
  /** Every route there is. */
  router: Express['router'];
  /** For the port that asks for certificates: every request there came to `mtls.origin`, whatever it says. */
  mtlsHandler: RequestListener;
  /** Serves the keys that are stored now, without losing a request. Happens by itself within seconds, too. */
  reload(): Promise<void>;
  /** Turns readiness red; requests are still served. */
  drain(): void;
  close(): Promise<void>;
};

/**
 * Makes the application over an open, migrated database. Does nothing at import, and once `close` has resolved nothing
 * of it runs. Throws when the stored signing keys cannot be opened.
 */
export async function createApp({ config, database, log, leads = true, siblings }: AppDependencies): Promise<App> {
  const { db } = database;
  const { origin, issuer } = config;
  const encryption = createEncryption(config.encryptionKeys);
  const observation = await observe({ config, database, log, siblings });
  const bcrypt = observation.bcrypt(createBcryptPool({ rounds: config.bcryptRounds, processes: config.workers }));
  const outbound = observation.outbound(createOutbound({ allow: config.outboundAllow }));
  if (config.outboundAllow.length > 0)
    log.info({ allow: config.outboundAllow }, 'private addresses that clients may name');
  const outbox = mailSettings(config).mode === 'keep';
  const views = createViews({ brand: config.brand, host: new URL(origin).host, cache: config.production, outbox });
  const { logoUrl } = config.brand;
  const policy = createContentSecurityPolicy(logoUrl && URL.canParse(logoUrl) ? [new URL(logoUrl).origin] : []);
  const pages = createPages(views, policy);
  const ownForms = sameOrigin(origin);
  const rateLimit = rateLimits(db);

  const background = createBackground((name, err) => log.warn({ err }, `${name} failed`), { leads });
  const refreshLogo = (client: Client) => background.run('copying a logo', () => copyLogo(db, outbound.fetch, client));
  const clientTile = createClientTiles({ db, refreshLogo });
  const { production } = config;
  const validate: ReturnType<typeof clientValidator> = (metadata) => clientValidator(provider)(metadata);
  const notices = createNotices({ database, log });
  await notices.tried;
  const findClient = createClientDirectory({ db, notices });
  const apis = createApiDirectory({ db, notices });
  const clients = createClientStorage({
    db,
    findClient,
    bcrypt: bcrypt.lane('client-secrets'),
    production,
    ...(config.clientIdMetadataDocuments && {
      findDocumentClient: createDocumentClients({
        db,
        findKnown: findClient,
        fetch: outbound.fetch,
        validate,
        production,
      }),
    }),
  });
  const findAccount = (accountId: string) => findActiveAccount(db, accountId);
  const claimsOf = async (accountId: string, read?: Account) => {
    const account = read ?? (await findAccount(accountId));
    return account && { ...accountClaims(account), [administrator]: account.administratorSince !== null };
  };

  const libraryPageParts: DevicePageDependencies = {
    pages,
    clientTile,
    findAccount,
    currentSession: (req, res) => browser.current(req, res),
  };
  const provider = await createProvider({
    issuer,
    db,
    encryption,
    apis,
    clients,
    clientRegistration: config.clientRegistration,
    clientIdMetadataDocuments: config.clientIdMetadataDocuments,
    verifyClientSecret: clients.verifySecret,
    deliverLogouts: () => logouts.wake(),
    refreshTokenLeewaySeconds: config.refreshTokenLeewaySeconds,
    secure: config.secure,
    cookieSecrets: config.cookieSecrets,
    pkce: config.pkce,
    allowedOrigins: config.allowedOrigins,
    pairwiseSalt: await loadProviderSecret(db, encryption, 'pairwise-salt'),
    mtls: config.mtls,
    dPoPNonceSecret: Buffer.from(await loadProviderSecret(db, encryption, 'dpop-nonce'), 'base64url'),
    fetch: outbound.fetch,
    accountClaims: claimsOf,
    loadKeys: () => loadSigningKeys(db, encryption, config.jwksPrivateKey),
    loadAuthorizationDetailsTypes: () => listAuthorizationDetailsTypes(db),
    // These pages ask for parts that are made of the provider; by the time of a request they are there.
    pages: libraryPages(
      providerPages({
        ...libraryPageParts,
        describeLost: (uid) => interactions.describeLost(uid),
      }),
    ),
    devicePages: devicePages(libraryPageParts),
    warn: (facts, message) => log.warn(facts, message),
    noteEvent: (res, outcome, error) => {
      noteOutcome(res as Response, outcome);
      if (error) (res as Response).locals.error = error;
    },
  });
  const auditKey = await loadAuditKey(db, encryption);
  startKeyJobs({ db, encryption, config, background, log });
  startAuditJobs({ db, config, key: auditKey, countEvents: observation.countEvents, background, log });
  startSweep({ db, background, log });
  restWhenQuiet(background);
  followStored({ db, notices, config, provider, background, log });
  const logouts = logoutDelivery({ db, provider, background, log });
  const browser = browserSessions(provider, db, logouts.wake, {
    cancelDeletion: (accountId, source) => cancelDeletion({ db, encryption }, accountId, source),
    isActive: (accountId) => isActiveAccount(db, accountId),
  });
  const interactions = createInteractions(provider, browser, db, apis);
  const sessions = createSessions(browser);
  const mail = startMail({ db, encryption, background, log, config });
  let draining = false;

  const app = express();
  app.disable('x-powered-by');
  if (config.trustProxy !== undefined) app.set('trust proxy', config.trustProxy);
  const watched = [watchRequests(observation, () => app.router), requestLog(log)].flat();
  const headers = securityHeaders(config.secure, policy);
  app.use(watched);
  if (config.mtls?.certHeader) app.use(clientCertificateHeader(config.mtls.certHeader));
  app.use(seenRoutes({ encryption, secure: config.secure }), pinHost(origin, log, config.mtls?.origin), headers);
  app.use('/assets', assets(views.brandCss));
  app.use(['/auth', '/account'], wakeAfterPost(mail.wake));
  const keyIds = () => provider.keyIds;
  const isDraining = () => draining;
  app.use(healthRoutes({ readiness: createReadiness({ db, isDraining, keyIds, sweepLag: () => sweepLag(db) }) }));
  app.use(metricsRoutes({ metrics: observation.metrics, config }));
  app.use(
    clientRoutes({
      db,
      bcrypt: bcrypt.lane('client-secrets'),
      validate,
      production,
      listOpenScopes: apis.listOpenScopes,
      rateLimit,
      origin,
      clientRegistration: config.clientRegistration,
      allowedOrigins: config.allowedOrigins,
      refreshLogo,
    }),
  );
  // Before what people use: programs call it far more often, and each route before it is asked.
  const limits = endpointLimits();
  app.use(mountRoutes({ provider, sameOrigin: ownForms, rateLimit, limits }));
  app.use(homeRoutes({ pages, sessions, findAccount, config }));
  if (outbox) app.use(outboxRoutes({ db, encryption, letters: mail.letters, pages }));
  app.use(
    peopleRoutes({
      db,
      config,
      encryption,
      bcrypt,
      fetch: outbound.fetch,
      log,
      auditKey,
      pages,
      sessions,
      browser,
      interactions,
      findAccount,
      accountClaims: claimsOf,
      clientTile,
      deliverLogouts: logouts.wake,
      rateLimit,
      sameOrigin: ownForms,
    }),
  );
  if (config.playground) {
    await ensurePlaygroundClient(db, origin);
    app.use(playgroundRoutes({ db, pages, encryption, issuer, origin, sameOrigin: ownForms, rateLimit, log }));
  } else {
    await removePlaygroundClient(db);
  }
  app.use(wrongMethod(app.router));
  app.use(() => {
    throw notFound();
  });
  app.use(errorHandler(pages));

  return {
    // Where clients show certificates, all that Express knows about them is needed.
    handler: config.mtls
      ? app
      : fastPath({ provider, origin, steps: [...watched, headers], limits, isProxy: app.get('trust proxy fn') }, app),
    router: app.router,
    mtlsHandler: (req, res) => app(asSentTo(req, config.mtls?.origin ?? origin), res),
    reload: provider.reload,
    drain() {
      draining = true;
    },
    async close() {
      mail.stop();
      await background.close();
      await notices.close();
      await bcrypt.close();
      await outbound.close();
      await observation.close();
    },
  };
}

/** Everything that a person sees of an account: the pages to get one, to sign in with it, to look after it, to consent. */
import { Router } from 'express';
import type { Logger } from 'pino';
import { createAttempts } from '../accounts/attempts.ts';
import { createAuthenticate } from '../accounts/authenticate.ts';
import { passwordCheckOf } from '../accounts/breached-passwords.ts';
import { expiredPasswordPages } from '../accounts/expired-password.routes.ts';
import { loginRoutes } from '../accounts/login.routes.ts';
import { createPasskeySteps } from '../accounts/passkey-step.ts';
import { passwordAndEmailRoutes } from '../accounts/password-and-email.routes.ts';
import { registerRoutes } from '../accounts/register.routes.ts';
import { createFurtherSteps, secondFactorRoutes } from '../accounts/second-factor.routes.ts';
import { verifyEmailRoutes } from '../accounts/verify-email.routes.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { addressDigest } from '../keys/audit-key.ts';
import type { Encryption } from '../keys/encryption.ts';
import type { BcryptPool } from '../lib/bcrypt-pool.ts';
import type { BrowserSessions } from '../oidc/browser-session.ts';
import { endSessionsOf } from '../oidc/session-end.ts';
import type { Sessions } from '../sessions/sessions.ts';
import { type AccountPagesDependencies, accountPagesRoutes } from './account-pages.routes.ts';
import { type InteractionDependencies, interactionRoutes } from './interaction.routes.ts';

export type PeopleDependencies = Pick<
  InteractionDependencies,
  'pages' | 'interactions' | 'clientTile' | 'findAccount' | 'accountClaims' | 'sameOrigin'
> &
  Pick<AccountPagesDependencies, 'db' | 'deliverLogouts'> & {
    config: Parameters<typeof passwordCheckOf>[0] & {
      origin: string;
      secure: boolean;
      cookieSecrets: readonly string[];
      accountRegistration: 'open' | 'verified' | 'closed';
      brand: { name: string };
    };
    encryption: Encryption;
    bcrypt: BcryptPool;
    /** For what is asked of others: the breached-password service. */
    fetch: typeof globalThis.fetch;
    log: Logger;
    /** The secret under which the audit log names addresses that belong to nobody. */
    auditKey: string;
    sessions: Sessions;
    browser: BrowserSessions;
    rateLimit: RateLimit;
  };

export function peopleRoutes(dependencies: PeopleDependencies): Router {
  const { db, config, encryption, bcrypt, fetch, log, auditKey, pages, sessions, browser } = dependencies;
  const { interactions, findAccount, accountClaims, clientTile, deliverLogouts, rateLimit, sameOrigin } = dependencies;
  const { origin } = config;
  const attempts = createAttempts(db);
  const authenticate = createAuthenticate({
    db,
    bcrypt,
    attempts,
    addressDigest: (email) => addressDigest(auditKey, email),
  });
  const passkeys = createPasskeySteps({ db, attempts, origin, name: config.brand.name });
  const registration = {
    db,
    encryption,
    bcrypt,
    attempts,
    accountRegistration: config.accountRegistration,
    passwordCheck: passwordCheckOf(config, fetch, log),
  };
  const deviceCookies = { cookieSecrets: config.cookieSecrets, secure: config.secure };
  const people = { db, pages, sessions, rateLimit, origin, deviceCookies };
  const further = createFurtherSteps({ db, encryption, attempts, deviceCookies, pages, passkeys });

  const router = Router();
  const signIn = {
    ...people,
    passkeys,
    authenticate,
    registration: config.accountRegistration !== 'closed',
    ...further,
  };
  router.use(loginRoutes(signIn), secondFactorRoutes({ ...signIn, encryption, brandName: config.brand.name }));
  router.use(registerRoutes({ ...people, ...registration }));
  router.use(verifyEmailRoutes({ ...people, ...registration }));
  const passwords = { ...registration, endSessions: endSessionsOf };
  const expiredPassword = expiredPasswordPages({ ...passwords, pages, steps: further.steps });
  router.use(passwordAndEmailRoutes({ ...signIn, ...passwords, expiredPassword }));
  router.use(
    accountPagesRoutes({
      ...people,
      attempts,
      authenticate,
      passkeys,
      encryption,
      clientTile,
      deliverLogouts,
    }),
  );
  router.use(
    '/auth/interaction',
    interactionRoutes({
      pages,
      interactions,
      sessions: browser,
      authenticate,
      registration,
      deviceCookies,
      passkeys,
      ...further,
      expiredPassword,
      clientTile,
      findAccount,
      accountClaims,
      sameOrigin,
      rateLimit,
    }),
  );
  return router;
}

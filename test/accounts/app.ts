import { randomUUID } from 'node:crypto';
import express, { type Express, type Request } from 'express';
import { pino } from 'pino';
import request from 'supertest';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { accountRoutes } from '../../src/accounts/account.routes.ts';
import { type AppsDependencies, appsRoutes } from '../../src/accounts/apps.routes.ts';
import { createAttempts } from '../../src/accounts/attempts.ts';
import { createAuthenticate } from '../../src/accounts/authenticate.ts';
import { type BrowserSession, loginRoutes, type SessionFunctions } from '../../src/accounts/login.routes.ts';
import { createPasskeySteps } from '../../src/accounts/passkey-step.ts';
import { type PasswordDependencies, passwordRoutes } from '../../src/accounts/password.routes.ts';
import { type RegisterDependencies, registerRoutes } from '../../src/accounts/register.routes.ts';
import { createSignInSteps } from '../../src/accounts/sign-in-steps.routes.ts';
import type { Database } from '../../src/db/database.ts';
import { errorHandler } from '../../src/http/error-handler.ts';
import { createPages } from '../../src/http/pages.ts';
import { rateLimits } from '../../src/http/rate-limit.ts';
import { requestLog } from '../../src/http/request-log.ts';
import { createContentSecurityPolicy } from '../../src/http/security-headers.ts';
import { createViews } from '../../src/http/views.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { type Bcrypt, createBcryptPool } from '../../src/lib/bcrypt-pool.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

export const origin = 'http://localhost:3000';

type Options = Partial<Pick<RegisterDependencies, 'accountRegistration' | 'passwordCheck'>> &
  Partial<Pick<AppsDependencies, 'connectedApps' | 'disconnectApp'>> &
  Partial<Pick<PasswordDependencies, 'endSessions'>>;

/** The accounts' pages alone, on the real database, with sessions kept in memory. */
function createAccountsApp(db: Database, bcrypt: Bcrypt, options: Options = {}): Express {
  const views = createViews({
    brand: { name: 'Latchkey', logoUrl: undefined, hue: 178 },
    host: 'localhost:3000',
    cache: true,
  });
  const encryption = createEncryption([Buffer.alloc(32, 7)]);
  const attempts = createAttempts(db);
  const deviceCookies = { cookieSecrets: ['a secret of at least thirty-two characters'], secure: false };
  const dependencies = {
    db,
    encryption,
    attempts,
    bcrypt,
    pages: createPages(views, createContentSecurityPolicy()),
    sessions: memorySessions(),
    passkeys: createPasskeySteps({
      db,
      attempts,
      origin,
      name: 'Latchkey',
    }),
    authenticate: createAuthenticate({ db, bcrypt, attempts, addressDigest: () => 'digest' }),
    rateLimit: rateLimits(db),
    origin,
    deviceCookies,
    accountRegistration: 'open' as const,
    passwordCheck: 'common' as const,
    steps: createSignInSteps({ db, encryption, deviceCookies }),
    connectedApps: async () => [],
    disconnectApp: async () => {},
    endSessions: async () => {},
    registration: options.accountRegistration !== 'closed',
    ...options,
  };
  return express()
    .set('trust proxy', true)
    .use(requestLog(pino({ level: 'silent' })))
    .use(loginRoutes(dependencies), registerRoutes(dependencies))
    .use(accountRoutes(dependencies), appsRoutes(dependencies), passwordRoutes(dependencies))
    .use(errorHandler(dependencies.pages));
}

/** What each route test starts with: a new person, and browsers and programs at addresses of their own. */
export function accountsBench() {
  const pool = createBcryptPool({ rounds: 4 });
  let database: OpenTestDatabase;
  let app: Express;
  let people = 0;

  beforeAll(async () => {
    database = await openTestDatabase();
    app = createAccountsApp(database.db, pool);
  });
  afterAll(async () => {
    await pool.close();
    await database.close();
  });
  beforeEach(() => {
    people += 1;
  });

  const bench = {
    password: 'tram window salt piano',
    get email() {
      return `person${people}@moreno.example`;
    },
    get db() {
      return database.db;
    },
    appWith: (options: Options) => createAccountsApp(database.db, pool, options),
    /** Addresses differ from test to test, so that limits per address do not meet. */
    browser: (server = app) =>
      request.agent(server).set('X-Forwarded-For', `192.0.2.${people}`).set('Accept', 'text/html'),
    program: (server = app) =>
      request.agent(server).set('X-Forwarded-For', `198.51.100.${people}`).set('Accept', 'application/json'),
    register: () =>
      bench
        .program()
        .post('/auth/register')
        .send({ email: bench.email, password: bench.password, name: 'Ada Moreno' })
        .expect(201),
  };
  return bench;
}

/** The notice with role="alert", to the end of its form. */
export function alertIn(html: string): string {
  return /<[^>]+role="alert"[\s\S]*?<\/form>/.exec(html)?.[0] ?? '';
}

export function cookiesOf(response: request.Response): string[] {
  return (response.headers['set-cookie'] ?? []) as unknown as string[];
}

function memorySessions(): SessionFunctions {
  const sessions = new Map<string, BrowserSession>();
  const idOf = (req: Request) => /(?:^|; )test_session=([\w-]+)/.exec(req.headers.cookie ?? '')?.[1] ?? '';
  return {
    current: async (req) => sessions.get(idOf(req)),
    async signIn(req, res, accountId, amr) {
      const id = randomUUID();
      sessions.delete(idOf(req));
      sessions.set(id, { uid: id, accountId, amr, loginAt: new Date() });
      res.cookie('test_session', id, { httpOnly: true });
    },
    async renew(req, res, { accountId }, amr) {
      await this.signIn(req, res, accountId, amr);
    },
    async signOut(req, res) {
      sessions.delete(idOf(req));
      res.clearCookie('test_session');
    },
  };
}

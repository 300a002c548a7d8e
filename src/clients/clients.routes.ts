import cors from 'cors';
import {
  type ErrorRequestHandler,
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
  Router,
} from 'express';
import { z } from 'zod';
import { auditSource } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { isForm, parse, readJson } from '../http/body.ts';
import { sendError } from '../http/error-answer.ts';
import { HttpError, notFound } from '../http/errors.ts';
import { memoryRateLimit, type RateLimit } from '../http/rate-limit.ts';
import { noteOutcome } from '../http/request-log.ts';
import { noStore } from '../http/security-headers.ts';
import { wrongMethod } from '../http/wrong-method.ts';
import { equalInConstantTime, sha256 } from '../lib/hash.ts';
import { fullMetadata, publicFacts } from './client-facts.ts';
import {
  type Client,
  type ClientDependencies,
  deleteClient,
  findClient,
  initialAccessTokenNeeded,
  registerClient,
  rotateClientSecret,
  updateClient,
} from './clients.ts';
import { isInitialAccessTokenUsable } from './initial-access-tokens.ts';
import { findLogo } from './logos.ts';

export type ClientRoutesDependencies = ClientDependencies & {
  db: Database;
  rateLimit: RateLimit;
  /** The public origin, `https://id.example`. */
  origin: string;
  clientRegistration: 'open' | 'token' | 'closed';
  allowedOrigins: readonly string[];
  /** Copies the client's logo in the background. */
  refreshLogo(client: Client): void;
};

type ClientRequest = Request<{ client_id: string }>;

const maxGraceSeconds = 30 * 24 * 60 * 60;
const Rotation = z.object({ grace_seconds: z.number().int().min(0).max(maxGraceSeconds).default(0) });

/** No form is taken here: who sends one is a program that named no content type, as curl does, and not a person. */
const refuseForms: ErrorRequestHandler = (error, req, res, next) => {
  if (isForm(req)) sendError(res, error);
  else next(error);
};

/** The two doors to one service. What is registered through either is managed through both. */
const doors = ['/clients', '/oidc/reg'];

/** Dynamic client registration (RFC 7591) and its management (RFC 7592), and what pages show of a client. */
export function clientRoutes(dependencies: ClientRoutesDependencies): Router {
  const { db, origin, clientRegistration, allowedOrigins, refreshLogo } = dependencies;
  const fromOtherOrigins = cors({
    origin: [...allowedOrigins],
    methods: ['GET', 'POST', 'PUT', 'DELETE'],
    allowedHeaders: ['Authorization', 'Content-Type'],
    exposedHeaders: ['WWW-Authenticate', 'Retry-After'],
    maxAge: 3600,
  });
  const registrations = dependencies.rateLimit('clients', 30);
  const wrongTokens = memoryRateLimit(60, { failuresOnly: true });
  const managed = [wrongTokens, requireRegistrationToken];
  const router = Router();

  router.use(doors, fromOtherOrigins, neverStored);
  router.get('/clients/:client_id', showPublicFacts);
  router.get('/clients/:client_id/logo', showLogo);
  for (const path of doors) {
    const door = Router();
    door.post('/', registrations, requireRegistrationAllowed, readJson, register);
    door.get('/:client_id', managed, showClient);
    door.put('/:client_id', managed, readJson, replaceClient);
    door.delete('/:client_id', managed, removeClient);
    door.post('/:client_id/secret', managed, readJson, renewSecret);
    router.use(path, through(path), door, wrongMethod(door));
  }
  router.use(doors, refuseForms);

  /** A client is told to come back through the door that it came by. */
  function through(path: string): RequestHandler {
    return (_req, res, next) => {
      res.locals.door = path;
      next();
    };
  }

  function neverStored(_req: Request, res: Response, next: NextFunction): void {
    noStore(res);
    next();
  }

  /** Decided before the body is read and anything is fetched or hashed for it. */
  async function requireRegistrationAllowed(req: Request, res: Response, next: NextFunction): Promise<void> {
    if (clientRegistration === 'closed') {
      throw new HttpError(403, 'registration_closed', 'Clients cannot be registered here. Ask the operator.');
    }
    const token = bearerToken(req);
    const usable = token === undefined ? clientRegistration === 'open' : await isInitialAccessTokenUsable(db, token);
    if (usable) return next();
    challenge(res, token);
    throw initialAccessTokenNeeded();
  }

  async function register(req: Request, res: Response): Promise<void> {
    const token = bearerToken(req);
    const { client, clientSecret, registrationAccessToken } = await registerClient(db, dependencies, req.body, {
      ...(token === undefined ? { registeredBy: 'open' } : { registeredBy: 'token', initialAccessToken: token }),
      source: auditSource(req, res),
    });
    refreshLogo(client);
    noteOutcome(res, 'client registered');
    res.locals.registrationAccessToken = registrationAccessToken;
    res.status(201).json(registrationAnswer(res, client, clientSecret));
  }

  /** Only at `/clients`: RFC 7592 §2.1 leaves nothing to say to who has no token. */
  async function showPublicFacts(req: ClientRequest, res: Response, next: NextFunction): Promise<void> {
    if (bearerToken(req) !== undefined) return next();
    const client = await findClient(db, req.params.client_id);
    if (!client) throw new HttpError(404, 'invalid_client', 'There is no such client.');
    res.json(publicFacts(client));
  }

  /** An unknown client and a wrong token look alike (RFC 7592 §2). */
  async function requireRegistrationToken(req: Request, res: Response, next: NextFunction): Promise<void> {
    const token = bearerToken(req);
    const client = await findClient(db, String(req.params.client_id));
    if (!client || token === undefined || !isRegistrationToken(client, token)) {
      throw registrationTokenNeeded(res, token);
    }
    res.locals.registrationAccessToken = token;
    res.locals.client = client;
    next();
  }

  function showClient(_req: ClientRequest, res: Response): void {
    res.json(registrationAnswer(res, res.locals.client as Client));
  }

  async function replaceClient(req: ClientRequest, res: Response): Promise<void> {
    const source = auditSource(req, res);
    const updated = await updateClient(db, dependencies, req.params.client_id, req.body, { source });
    if (!updated) throw registrationTokenNeeded(res, presentedToken(res));
    const { client, clientSecret } = updated;
    refreshLogo(client);
    noteOutcome(res, 'client updated');
    res.json(registrationAnswer(res, client, clientSecret));
  }

  async function removeClient(req: ClientRequest, res: Response): Promise<void> {
    await deleteClient(db, req.params.client_id, auditSource(req, res));
    noteOutcome(res, 'client deleted');
    res.status(204).end();
  }

  async function renewSecret(req: ClientRequest, res: Response): Promise<void> {
    const { grace_seconds: graceSeconds } = parse(Rotation, req.body);
    const source = auditSource(req, res);
    const rotated = await rotateClientSecret(db, dependencies, req.params.client_id, graceSeconds, source);
    if (!rotated) throw new HttpError(400, 'invalid_request', 'This client has no secret to renew.');
    noteOutcome(res, 'client secret rotated');
    const { client, clientSecret } = rotated;
    res.json({ client_id: client.clientId, ...secretMembers(clientSecret) });
  }

  async function showLogo(req: ClientRequest, res: Response): Promise<void> {
    const client = await findClient(db, req.params.client_id);
    const logo = client && (await findLogo(db, client));
    if (!logo) throw notFound();
    res.set({
      'Content-Type': logo.contentType,
      'Cache-Control': 'public, max-age=3600, stale-while-revalidate=86400',
      'X-Content-Type-Options': 'nosniff',
      // Opened by itself an SVG is a document of this origin: it may draw and nothing else.
      'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
    });
    res.send(logo.body);
  }

  /** RFC 7591 §3.2.1, RFC 7592 §3. */
  function registrationAnswer(res: Response, client: Client, clientSecret?: string): Record<string, unknown> {
    return {
      ...fullMetadata(client),
      ...(clientSecret !== undefined && secretMembers(clientSecret)),
      registration_access_token: presentedToken(res),
      registration_client_uri: `${origin}${res.locals.door}/${client.clientId}`,
    };
  }

  return router;
}

function secretMembers(clientSecret: string): { client_secret: string; client_secret_expires_at: number } {
  return { client_secret: clientSecret, client_secret_expires_at: 0 };
}

function bearerToken(req: Request | ClientRequest): string | undefined {
  return /^Bearer +([\w.~+/-]+=*) *$/i.exec(req.headers.authorization ?? '')?.[1];
}

function isRegistrationToken({ registrationTokenHash }: Client, token: string): boolean {
  return registrationTokenHash !== null && equalInConstantTime(registrationTokenHash, sha256(token));
}

function presentedToken(res: Response): string {
  return res.locals.registrationAccessToken as string;
}

function registrationTokenNeeded(res: Response, token: string | undefined): HttpError {
  challenge(res, token);
  return new HttpError(401, 'invalid_token', 'The registration access token of this client is needed.');
}

/** RFC 6750 §3: no error code for a request without a token. */
function challenge(res: Response, token: string | undefined): void {
  res.set('WWW-Authenticate', `Bearer realm="clients"${token === undefined ? '' : ', error="invalid_token"'}`);
}

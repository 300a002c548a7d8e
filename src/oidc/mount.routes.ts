import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response, Router } from 'express';
import { sendError } from '../http/error-answer.ts';
import { HttpError, methodNotAllowed } from '../http/errors.ts';
import { memoryRateLimit, type RateLimit } from '../http/rate-limit.ts';
import type { ProviderHandle } from './provider.ts';

export type MountDependencies = {
  provider: Pick<ProviderHandle, 'callback'>;
  /** For the forms among the protocol endpoints. */
  sameOrigin: RequestHandler;
  rateLimit: RateLimit;
  limits: EndpointLimits;
};

export type EndpointLimits = ReturnType<typeof endpointLimits>;

/** For what programs call: each counted once, whichever way a request takes. */
export function endpointLimits() {
  return { token: memoryRateLimit(600), refusedClients: memoryRateLimit(60, { failuresOnly: true }) };
}

/** As long as an address may be. */
const readFormText = express.text({ type: 'application/x-www-form-urlencoded', limit: '8kb' });

const postOnly = ['/oidc/token', '/oidc/request', '/oidc/introspection', '/oidc/revocation', '/oidc/device/auth'];

/** Endpoints that resource servers call for every request of theirs; only their refused callers are counted. */
const calledByResourceServers = /^\/(introspection|revocation|userinfo)\/?$/i;

/**
 * The provider below `/oidc`, with no body parser in front: it reads the raw stream, and takes all that is below. RFC 8414's
 * address for an issuer with a path is outside the mount and answered from inside.
 */
export function mountRoutes({ provider, sameOrigin, rateLimit, limits }: MountDependencies): Router {
  const router = Router();
  router.all(postOnly, refuseOtherMethods);
  const metadata = router.route('/.well-known/oauth-authorization-server/oidc');
  metadata.get(showMetadata);
  // A script of another origin that adds a header, as MCP clients do, asks first.
  metadata.options(showMetadata);
  router.post(['/oidc/session/end/confirm', '/oidc/device'], sameOrigin);
  router.post('/oidc/device/auth', rateLimit('device-authorization', 60));
  router.post(['/oidc/auth', '/oidc/session/end'], readFormText, askByGet);
  router.post('/oidc/{*path}', limitToken, limits.refusedClients);
  router.use([...postOnly, '/oidc/userinfo'], answerPrograms);
  router.use('/oidc', requireReadableQuery, (req, res) => provider.callback(req, res));
  return router;

  function limitToken(...[req, res, next]: Parameters<RequestHandler>): void {
    if (calledByResourceServers.test(req.path.slice('/oidc'.length))) next();
    else limits.token(req, res, next);
  }

  /**
   * OIDC Core §3.1.2.1 and RP-Initiated Logout §2 let a client post these requests from its own site. SameSite cookies
   * do not come along then; they do with the navigation that this answer asks for.
   */
  function askByGet(req: Request, res: Response): void {
    if (typeof req.body !== 'string') {
      throw new HttpError(415, 'invalid_request', 'Send the request as application/x-www-form-urlencoded.');
    }
    res.redirect(303, `${req.path}?${req.body}`);
  }

  async function showMetadata(req: Request, res: Response): Promise<void> {
    req.url = req.url.replace(
      '/.well-known/oauth-authorization-server/oidc',
      '/.well-known/oauth-authorization-server',
    );
    req.originalUrl = `/oidc${req.url}`;
    await provider.callback(req, res);
  }
}

/** RFC 9126 §2.3. The library answers 404, as if there were nothing. */
function refuseOtherMethods(...[req, res, next]: Parameters<RequestHandler>): void {
  if (req.method !== 'POST' && req.method !== 'OPTIONS') {
    res.setHeader('Allow', 'POST, OPTIONS');
    throw methodNotAllowed();
  }
  next();
}

/** They send forms, too, and are no people who would get a page for one. Who opens the address in a browser does. */
const answerPrograms: ErrorRequestHandler = (error, req, res, next) => {
  if (req.method === 'GET' || req.method === 'HEAD') next(error);
  else sendError(res, error);
};

/**
 * The library mends what cannot be decoded and keeps NUL, and would hand a client a `state` that it never sent. What was
 * not percent-encoded UTF-8 text is refused instead.
 */
function requireReadableQuery(...[req, , next]: Parameters<RequestHandler>): void {
  if (isReadableAddress(req.originalUrl)) next();
  else throw new HttpError(400, 'invalid_request', 'The query of this address is not percent-encoded UTF-8 text.');
}

export function isReadableAddress(address: string): boolean {
  const [, query = ''] = /\?(.*)$/s.exec(address) ?? [];
  try {
    return !decodeURIComponent(query).includes('\0');
  } catch {
    return false;
  }
}

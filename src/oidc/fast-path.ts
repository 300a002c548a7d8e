/**
 * The endpoints that programs call all the time, answered without Express: its routing and the prototypes it gives every
 * request take as long as half of a token request. What goes by here passes the same steps as there. Whatever is not plainly
 * one of these requests (another host name, another method, a query nobody can read) is Express's.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import proxyAddress from 'proxy-addr';
import { sendError } from '../http/error-answer.ts';
import { presentAs } from '../http/host.ts';
import { nameRoute } from '../http/route-name.ts';
import { type EndpointLimits, isReadableAddress } from './mount.routes.ts';
import type { ProviderHandle } from './provider.ts';

/** What these steps use of a request; Express's own has it, too. */
type Req = IncomingMessage & { originalUrl: string; ip: string };
type Res = ServerResponse & { locals: Record<string, unknown> };
type Step = (req: Req, res: Res, next: (error?: unknown) => void) => unknown;

export type FastPathDependencies = {
  provider: Pick<ProviderHandle, 'callback' | 'publicMetadata'>;
  origin: string;
  /** What every request passes first, in order. */
  steps: readonly unknown[];
  limits: EndpointLimits;
  /** Express's reading of TRUST_PROXY. */
  isProxy: (address: string, hop: number) => boolean;
};

/** `name`: of the route, where all are answered alike. */
type Endpoint = { steps: readonly Step[]; name?: string };

/** Answers what is plainly a request to one of these endpoints, and hands on everything else. */
export function fastPath(
  { provider, origin, steps, limits, isProxy }: FastPathDependencies,
  express: RequestListener,
): RequestListener {
  const { host, protocol } = new URL(origin);
  const through = (...more: readonly unknown[]): Endpoint => ({ steps: [...steps, ...more] as Step[] });
  const refused = limits.refusedClients;
  const endpoints = new Map<string, Endpoint>([
    ['GET /oidc/.well-known/openid-configuration', { ...through(), name: 'discovery' }],
    ['GET /oidc/jwks', { ...through(), name: 'jwks' }],
    ['GET /oidc/auth', through()],
    ['GET /oidc/userinfo', through()],
    ['POST /oidc/userinfo', through(refused)],
    ['POST /oidc/introspection', through(refused)],
    ['POST /oidc/revocation', through(refused)],
    ['POST /oidc/token', through(limits.token, refused)],
  ]);

  return (message, answer) => {
    const endpoint = endpointOf(message);
    if (!endpoint) {
      express(message, answer);
      return;
    }
    const url = message.url as string;
    const req: Req = Object.assign(message, { originalUrl: url, ip: proxyAddress(message, isProxy) });
    const res: Res = Object.assign(answer, { locals: {} });
    presentAs(req, { host, protocol });
    inTurn(endpoint.steps, req, res, () => {
      req.url = url.slice('/oidc'.length);
      if (endpoint.name && sendMetadata(endpoint.name, req, res)) return;
      provider.callback(req, res).catch((error: unknown) => sendError(res, error));
    });
  };

  function endpointOf({ url = '', method, headers }: IncomingMessage): Endpoint | undefined {
    if (headers.host !== host || (headers['x-forwarded-host'] ?? host) !== host) return undefined;
    const query = url.indexOf('?');
    const endpoint = endpoints.get(`${method} ${query < 0 ? url : url.slice(0, query)}`);
    return query < 0 || isReadableAddress(url) ? endpoint : undefined;
  }

  /** As the library answered it before; what it says to another origin (CORS) is the library's to say each time. */
  function sendMetadata(name: string, req: Req, res: Res): boolean {
    const kept = req.headers.origin === undefined ? provider.publicMetadata(req.url ?? '') : undefined;
    if (!kept) return false;
    nameRoute(res, `oidc.${name}`);
    res.setHeaders(kept.headers);
    if (kept.isKnownTo(req.headers['if-none-match'] ?? '')) {
      res.removeHeader('Content-Type');
      res.writeHead(304).end();
    } else {
      res.setHeader('Content-Length', kept.body.length);
      res.end(kept.body);
    }
    return true;
  }
}

/** Runs each step when the one before calls on; an error is the answer. */
function inTurn(steps: readonly Step[], req: Req, res: Res, done: () => void): void {
  let turn = 0;
  const next = (error?: unknown) => {
    if (error !== undefined) return sendError(res, error);
    const step = steps[turn];
    turn += 1;
    if (step) step(req, res, next);
    else done();
  };
  // Nobody else would catch what a step throws, and the process would end.
  try {
    next();
  } catch (error) {
    sendError(res, error);
  }
}

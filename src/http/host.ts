import type { IncomingMessage } from 'node:http';
import type { Request, RequestHandler } from 'express';
import type { Logger } from 'pino';
import { notFound } from './errors.ts';

/** The endpoints that `mtls_endpoint_aliases` in the metadata names. */
const calledByClients = /^\/oidc\/(token|revocation|introspection|userinfo|request|device\/auth)$/;

/** A person may open several pages at once by a wrong name; only a proxy that rewrites Host goes on and on. */
const maxRedirects = 5;

/**
 * Makes every request look as if it came to the issuer's own host. Endpoint addresses, cookies and redirects follow the
 * Host header elsewhere, so a wrong one would poison them; here nothing after this middleware can see it.
 *
 * A browser that came by another name (127.0.0.1 for localhost) is sent to the right one before a cookie is set for the
 * wrong host. Behind a proxy that rewrites Host that would go round for ever: a short-lived cookie counts how often this
 * browser was sent, and in the end the request is served as it is and the operator is told.
 * @param mtlsOrigin the other origin, where clients show certificates (RFC 8705 §5): no page is served there
 */
export function pinHost(origin: string, log: Pick<Logger, 'warn'>, mtlsOrigin?: string): RequestHandler {
  const { host, protocol } = new URL(origin);
  const mtlsHost = mtlsOrigin === undefined ? undefined : new URL(mtlsOrigin).host;
  const secure = protocol === 'https:';
  const marker = `${secure ? '__Host-' : ''}latchkey_host`;
  const markerAttributes = `Path=/; Max-Age=5; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
  let warned = false;

  return (req, res, next) => {
    const seen = req.host;
    if (mtlsHost !== undefined && seen?.toLowerCase() === mtlsHost) {
      if (!calledByClients.test(req.path)) return next(notFound());
      presentAs(req, { host: mtlsHost, protocol: 'https:' });
      return next();
    }
    presentAs(req, { host, protocol });
    if (seen?.toLowerCase() === host || !isNavigation(req)) return next();
    const redirects = Number(new RegExp(`${marker}=(\\d)`).exec(req.headers.cookie ?? '')?.[1] ?? 0);
    if (redirects < maxRedirects) {
      res.setHeader('Set-Cookie', `${marker}=${redirects + 1}; ${markerAttributes}`);
      return res.redirect(302, origin + req.originalUrl);
    }
    if (!warned) {
      warned = true;
      log.warn(
        `Requests arrive for host ${JSON.stringify(seen)} instead of ${host}: let the proxy pass Host unchanged.`,
      );
    }
    next();
  };
}

/** Lets the library, which makes its addresses of these headers, see nothing but this host and protocol. */
export function presentAs({ headers }: IncomingMessage, { host, protocol }: Pick<URL, 'host' | 'protocol'>): void {
  headers.host = host;
  headers['x-forwarded-proto'] = protocol.slice(0, -1);
  delete headers['x-forwarded-host'];
}

/** Makes a request look as if its client had written the host of `origin`. */
export function asSentTo(req: IncomingMessage, origin: string): IncomingMessage {
  req.headers.host = new URL(origin).host;
  delete req.headers['x-forwarded-host'];
  return req;
}

/** A page that a person opens; programs may call the protocol endpoints by any name that reaches them. */
function isNavigation(req: Request): boolean {
  if (req.method !== 'GET' || !req.originalUrl.startsWith('/') || req.originalUrl.startsWith('//')) return false;
  return req.headers['sec-fetch-mode'] === 'navigate' || req.accepts(['json', 'html']) === 'html';
}

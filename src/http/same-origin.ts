import type { RequestHandler } from 'express';
import { HttpError } from './errors.ts';

/**
 * Refuses a POST that another site's page made the browser send (SECURITY 28, 30). Browsers say where a request comes
 * from in `Sec-Fetch-Site`, older ones in `Origin`; programs send neither, and the cookies are SameSite=Lax besides.
 */
export function sameOrigin(origin: string): RequestHandler {
  return (req, _res, next) => {
    if (isCrossSite(req.headers, origin)) {
      throw new HttpError(403, 'cross_site_request', 'This form was sent from another site, so nothing was done.');
    }
    next();
  };
}

function isCrossSite(headers: NodeJS.Dict<string | string[]>, origin: string): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  return headers.origin !== undefined && headers.origin !== origin;
}

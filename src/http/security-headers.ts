import type { RequestHandler, Response } from 'express';
import helmet from 'helmet';

/**
 * The content security policy of a page. `formAction` names what a form's answer may redirect to besides this origin,
 * `images` where the operator's own mark may come from.
 */
export type ContentSecurityPolicy = (formAction?: readonly string[]) => string;

export function createContentSecurityPolicy(images: readonly string[] = []): ContentSecurityPolicy {
  const also = (sources: readonly string[]) => sources.map((source) => ` ${source}`).join('');
  return (formAction = []) =>
    [
      "default-src 'none'",
      "style-src 'self'",
      "script-src 'self'",
      `img-src 'self' data:${also(images)}`,
      "connect-src 'self'",
      "base-uri 'none'",
      "frame-ancestors 'none'",
      `form-action 'self'${also(formAction)}`,
    ].join('; ');
}

/**
 * Headers on every answer, the library's own pages included. `Referrer-Policy` is same-origin: with no-referrer
 * browsers send `Origin: null` with our own forms, and the same-origin check would refuse them (SECURITY 26, 28).
 */
export function securityHeaders(secure: boolean, policy: ContentSecurityPolicy): RequestHandler {
  const headers = headersOf(
    helmet({
      contentSecurityPolicy: false,
      referrerPolicy: { policy: 'same-origin' },
      frameguard: { action: 'deny' },
      strictTransportSecurity: secure ? { maxAge: 31_536_000, includeSubDomains: false } : false,
      // Relying parties open the sign-in in a pop-up and must hear back from it (OIDC `display=popup`).
      crossOriginOpenerPolicy: false,
    }),
  );
  headers.set('Content-Security-Policy', policy());
  return (_req, res, next) => {
    res.setHeaders(headers);
    next();
  };
}

/** The headers that Helmet sets: the same on every answer, so it is asked once. */
function headersOf(setHeaders: ReturnType<typeof helmet>): Map<string, string> {
  const headers = new Map<string, string>();
  const answer = { setHeader: (name: string, value: string) => headers.set(name, value), removeHeader() {} };
  setHeaders({} as never, answer as never, (error) => {
    if (error) throw error;
  });
  return headers;
}

/** For answers that belong to one person or one moment. */
export function noStore(res: Response): void {
  res.setHeader('Cache-Control', 'no-store');
}

import { type NextFunction, type Request, type Response, Router } from 'express';
import { noStore } from '../http/security-headers.ts';
import type { Encryption } from '../keys/encryption.ts';
import { challengeHeader, doctorCookie, readChallenge, seenPath, writeAnswer } from './challenge.ts';

/**
 * Tells the doctor what a request of its own looked like here. Stands before everything that changes host or protocol of
 * a request. To all others there is nothing at this address.
 */
export function seenRoutes({ encryption, secure }: { encryption: Encryption; secure: boolean }): Router {
  const cookie = doctorCookie(secure);
  const router = Router();
  // No route of its own: a wrong method would be answered as such.
  router.use(showSeen);
  return router;

  function showSeen(req: Request, res: Response, next: NextFunction): void {
    const asked = req.method === 'GET' && req.path === seenPath;
    const nonce = asked ? readChallenge(encryption, req.headers[challengeHeader]) : undefined;
    if (nonce === undefined) {
      next();
      return;
    }
    noStore(res);
    res.setHeader('Set-Cookie', `${cookie.name}=${nonce}; ${cookie.attributes}`);
    res.type('text/plain').send(
      writeAnswer(encryption, {
        nonce,
        now: Date.now(),
        host: req.host ?? '',
        ip: req.ip ?? '',
        hops: req.ips.length,
        peer: req.socket.remoteAddress ?? '',
        tls: 'encrypted' in req.socket,
        forwardedFor: req.get('x-forwarded-for') ?? '',
        forwardedProto: req.get('x-forwarded-proto') ?? '',
        cookie: new RegExp(`(?:^|; *)${cookie.name}=([\\w-]*)`).exec(req.headers.cookie ?? '')?.[1] ?? '',
      }),
    );
  }
}

import { type RequestHandler, Router } from 'express';
import { methodNotAllowed } from './errors.ts';

/** What Express's routers tell since 5.3 and their type declarations leave out. A mounted router has no `methods`. */
type Listing = { listRoutes(): { path: string; methods?: string[]; router?: Listing }[] };

/**
 * Answers 405 with `Allow` for addresses of `router` that are asked for in another way (RFC 9110 §15.5.6). For use
 * behind all its routes: what they leave over is either such a request or for no address of ours.
 */
export function wrongMethod(router: Router): RequestHandler {
  const allowed = new Map<string, string[]>();
  for (const { path, methods } of routesOf(router)) {
    allowed.set(path, [...(allowed.get(path) ?? []), ...methods]);
  }
  const known = Router();
  for (const [path, methods] of allowed) {
    known.all(path, (_req, res) => {
      res.setHeader('Allow', methods.join(', '));
      throw methodNotAllowed();
    });
  }
  // Not the router itself, which would be among the routes.
  return (req, res, next) => known(req, res, next);
}

/** Every route of `router`: its whole pattern, its own part of it (`req.route.path`), and what it is mounted below. */
export function routesOf(router: Router): { path: string; own: string; below: string; methods: string[] }[] {
  return list(router as unknown as Listing);
}

function list(router: Listing, prefix = ''): ReturnType<typeof routesOf> {
  return router.listRoutes().flatMap(({ path, methods = [], router: inner }) => {
    const whole = `${prefix}${path === '/' && (prefix || inner) ? '' : path}`;
    return inner ? list(inner, whole) : [{ path: whole, own: String(path), below: prefix, methods }];
  });
}

/**
 * What a request is called in metrics and traces: the pattern of its route, as the code has it. Never a part of the
 * address itself: whoever may write names into metrics can fill the memory of all who keep them.
 */
import type { Request, Response, Router } from 'express';
import { routesOf } from './wrong-method.ts';

export type RouteName = (req: Request, res: Response) => string;

/** For what reaches no route: unknown addresses, and requests that are refused before. */
const otherRoute = 'other';

/** For what is no route of Express: says what the request under way is called. */
export function nameRoute(res: { locals?: Response['locals'] }, name: string): void {
  if (res.locals) res.locals.routeName = name;
}

/** Names requests to `router`. Its routes are read with the first one. */
export function routeNames(router: () => Router): RouteName {
  let known: Map<string, Mounted[]> | undefined;
  return (req, res) => {
    if (res.locals.routeName) return res.locals.routeName as string;
    const own: unknown = req.route?.path;
    if (own === undefined) return otherRoute;
    known ??= patterns(router());
    const address = req.originalUrl.toLowerCase();
    const mounted = known.get(String(Array.isArray(own) ? own[0] : own)) ?? [];
    return mounted.find(({ below }) => address.startsWith(below))?.pattern ?? otherRoute;
  };
}

type Mounted = { below: string; pattern: string };

/**
 * By each route's own part of its pattern, which is all that a request tells: where routers with such a route are mounted,
 * the deepest first. (`req.baseUrl` would tell too, in the letters of whoever wrote the address.)
 */
function patterns(router: Router): Map<string, Mounted[]> {
  const known = new Map<string, Mounted[]>();
  for (const { path, own, below } of routesOf(router)) {
    const mounted = [...(known.get(own) ?? []), { below: below.toLowerCase(), pattern: path }];
    known.set(
      own,
      mounted.toSorted((a, b) => b.below.length - a.below.length),
    );
  }
  return known;
}

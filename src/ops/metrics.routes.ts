import { type NextFunction, type Request, type RequestHandler, type Response, Router } from 'express';
import { HttpError } from '../http/errors.ts';
import { memoryRateLimit } from '../http/rate-limit.ts';
import { noteTrace } from '../http/request-log.ts';
import { routeNames } from '../http/route-name.ts';
import { noStore } from '../http/security-headers.ts';
import { equalInConstantTime } from '../lib/hash.ts';
import type { Metrics } from './metrics.ts';
import { cameDirectly } from './scraper.ts';
import type { Tracing } from './tracing.ts';

export type MetricsRoutesDependencies = {
  metrics: Pick<Metrics, 'read'>;
  config: { metricsToken: string | undefined; origin: string };
};

type Watching = { metrics: Pick<Metrics, 'measure'>; tracing: Pick<Tracing, 'traceRequest'> | undefined };

/** For Prometheus: with `METRICS_TOKEN` for whoever shows it, without for this machine only. */
export function metricsRoutes({ metrics, config }: MetricsRoutesDependencies): Router {
  const wrongTokens = memoryRateLimit(60, { failuresOnly: true });
  const guard = config.metricsToken === undefined ? requireThisMachine : requireToken;
  const router = Router();
  router.get('/metrics', wrongTokens, guard, showMetrics);
  return router;

  async function showMetrics(_req: Request, res: Response): Promise<void> {
    noStore(res);
    const { contentType, text } = await metrics.read();
    res.setHeader('Content-Type', contentType);
    res.end(text);
  }

  /** RFC 6750 §3. */
  function requireToken(req: Request, res: Response, next: NextFunction): void {
    const [, shown = ''] = /^Bearer +(\S+)$/i.exec(req.headers.authorization ?? '') ?? [];
    if (!equalInConstantTime(shown, config.metricsToken ?? '')) {
      res.setHeader('WWW-Authenticate', 'Bearer realm="metrics"');
      throw new HttpError(401, 'invalid_token', 'Send METRICS_TOKEN as a bearer token.');
    }
    next();
  }

  function requireThisMachine(req: Request, _res: Response, next: NextFunction): void {
    const isProxy = req.app.get('trust proxy fn') as (address: string, hop: number) => boolean;
    if (!cameDirectly(req, { isProxy, origin: config.origin })) {
      throw new HttpError(403, 'access_denied', 'Metrics are for this machine only, unless METRICS_TOKEN is set.');
    }
    next();
  }
}

/** First of all: counts every request, and traces it where that is wanted, by the name of its route in `router`. */
export function watchRequests({ metrics, tracing }: Watching, router: () => Router): RequestHandler[] {
  const routeOf = routeNames(router);
  const count: RequestHandler = (req, res, next) => metrics.measure(req, res, () => routeOf(req, res), next);
  if (!tracing) return [count];
  const follow: RequestHandler = (req, res, next) => {
    tracing.traceRequest(
      req,
      res,
      () => routeOf(req, res),
      (traceId) => {
        noteTrace(res, traceId);
        next();
      },
    );
  };
  return [count, follow];
}

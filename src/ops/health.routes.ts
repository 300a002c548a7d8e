/** Operations: what a load balancer, a monitor and a supervisor ask of a running server. */
import { type Request, type Response, Router } from 'express';
import { noStore } from '../http/security-headers.ts';
import type { Readiness } from './readiness.ts';

export type HealthDependencies = { readiness: () => Promise<Readiness> };

export function healthRoutes({ readiness }: HealthDependencies): Router {
  const router = Router();
  router.get('/livez', showLive);
  router.get('/readyz', showReady);
  return router;

  /** The process answers: restarting it would not help. */
  function showLive(_req: Request, res: Response): void {
    noStore(res);
    res.json({ status: 'live' });
  }

  /** Requests can be served now: the database answers, its tables are those of this version, nobody asked us to stop. */
  async function showReady(_req: Request, res: Response): Promise<void> {
    noStore(res);
    const { ready, checks } = await readiness();
    res.status(ready ? 200 : 503).json({ status: ready ? 'ready' : 'not ready', checks });
  }
}

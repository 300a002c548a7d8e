/** Operations: what a load balancer, a monitor and a supervisor ask of a running server. */
import { type Request, type Response, Router } from 'express';
import type { Database } from '../db/database.ts';
import { pendingMigrations } from '../db/migrate.ts';
import { noStore } from '../http/security-headers.ts';

export type HealthDependencies = { db: Database; isDraining: () => boolean };

export function healthRoutes({ db, isDraining }: HealthDependencies): Router {
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
    const checks = { database: 'ok', migrations: 'ok', server: isDraining() ? 'stopping' : 'ok' };
    try {
      const pending = await pendingMigrations(db);
      if (pending > 0) checks.migrations = `${pending} pending`;
    } catch {
      checks.database = 'not answering';
      checks.migrations = 'unknown';
    }
    const ready = Object.values(checks).every((state) => state === 'ok');
    res.status(ready ? 200 : 503).json({ status: ready ? 'ready' : 'not ready', checks });
  }
}

/**
 * What is counted while the server runs, and how it is told to Prometheus. Each application has a registry of its own. Every
 * label comes from a list that the code has: nothing a stranger sends makes a new series.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { TakenIn } from '../audit/chain.ts';
import { auditEventNames, outcomeOf } from '../audit/events.ts';
import type { OpenDatabase } from '../db/database.ts';
import { type TokenRequest, tokenGrants } from '../oidc/request-facts.ts';
import type { DatabaseGauges } from './database-gauges.ts';
import { failedMethod, failedMethods, loginMethod, loginMethods } from './login-methods.ts';
import type { ProcessMetrics, Siblings } from './metrics-workers.ts';

export type Metrics = {
  /** Counts a request from its first byte to its last; `routeOf` names it once it has been answered. */
  measure(
    req: IncomingMessage,
    res: ServerResponse & { locals: Record<string, unknown> },
    routeOf: () => string,
    next: () => void,
  ): void;
  countEvents(events: readonly TakenIn[]): void;
  /** Starts the clock of a password hash; call the answer with what came of it. */
  startHash(operation: string): (outcome: 'done' | 'refused' | 'failed') => void;
  /** All of it in Prometheus' text format: of all workers, and of the database once. */
  read(): Promise<{ contentType: string; text: string }>;
  close(): void;
};

const methods = ['GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'] as const;
const eventLoopResolutionMs = 20;

export function createMetrics({
  pool,
  gauges,
  siblings,
}: {
  pool: OpenDatabase['pool'];
  gauges: DatabaseGauges;
  siblings?: Siblings | undefined;
}): Metrics {
  const registry = new Registry();
  const registers = [registry];

  const requests = new Counter({
    name: 'latchkey_http_requests_total',
    help: 'Requests answered, by route pattern, method and status; `aborted` when the caller was gone before the end',
    labelNames: ['route', 'method', 'status'],
    registers,
  });
  const durations = new Histogram({
    name: 'latchkey_http_request_duration_seconds',
    help: 'Time from the first byte of a request to the last of its answer',
    labelNames: ['route', 'method'],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers,
  });
  const inFlight = new Gauge({
    name: 'latchkey_http_requests_in_flight',
    help: 'Requests that are being answered now',
    registers,
  });
  const tokens = new Counter({
    name: 'latchkey_token_requests_total',
    help: 'Requests at the token endpoint by grant; the outcome is `success` or the error code',
    labelNames: ['grant', 'outcome'],
    registers,
  });
  for (const grant of tokenGrants.slice(0, -1)) tokens.inc({ grant, outcome: 'success' }, 0);
  const events = new Counter({
    name: 'latchkey_events_total',
    help: 'Events of the audit log, counted by the instance that takes them into its chain',
    labelNames: ['event', 'outcome'],
    registers,
  });
  for (const event of auditEventNames) events.inc({ event, outcome: outcomeOf(event) }, 0);
  const logins = new Counter({
    name: 'latchkey_logins_total',
    help: 'Sign-ins by method and outcome: `succeeded`, `failed`, or `throttled` when a pause began',
    labelNames: ['method', 'outcome'],
    registers,
  });
  for (const method of loginMethods) logins.inc({ method, outcome: 'succeeded' }, 0);
  for (const method of failedMethods) logins.inc({ method, outcome: 'failed' }, 0);
  const hashes = new Histogram({
    name: 'latchkey_password_hash_duration_seconds',
    help: 'Time for a password or client secret hash, waiting included; `refused` when too many wait',
    labelNames: ['operation', 'outcome'],
    buckets: [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8],
    registers,
  });
  const loop = monitorEventLoopDelay({ resolution: eventLoopResolutionMs });
  loop.enable();
  new Gauge({
    name: 'latchkey_event_loop_delay_seconds',
    help: 'How late the event loop was since the last scrape; of several workers the worst',
    labelNames: ['percentile'],
    aggregator: 'max',
    registers,
    collect() {
      // The histogram holds when the timer came, and not how late it was.
      const late = (nanoseconds: number) => Math.max(0, (nanoseconds || 0) / 1e9 - eventLoopResolutionMs / 1000);
      this.set({ percentile: '50' }, late(loop.percentile(50)));
      this.set({ percentile: '99' }, late(loop.percentile(99)));
      this.set({ percentile: '100' }, late(loop.max));
      loop.reset();
    },
  });
  watchPool(pool, registry);
  new Gauge({ name: 'latchkey_workers', help: 'Processes that serve requests', registers }).set(1);

  let hasDefaults = false;
  async function own(): Promise<ProcessMetrics> {
    // They hook into the garbage collector and time the event loop: only where somebody looks.
    if (!hasDefaults) collectDefaultMetrics({ register: registry });
    hasDefaults = true;
    return registry.getMetricsAsJSON();
  }
  siblings?.offer(own);

  return {
    measure(req, res, routeOf, next) {
      const startedAt = performance.now();
      inFlight.inc();
      res.once('close', () => {
        inFlight.dec();
        const route = routeOf();
        const method = methods.find((known) => known === req.method) ?? 'other';
        requests.inc({ route, method, status: res.writableFinished ? res.statusCode : 'aborted' });
        durations.observe({ route, method }, (performance.now() - startedAt) / 1000);
        const { tokenRequest } = res.locals as { tokenRequest?: TokenRequest };
        if (tokenRequest) tokens.inc(tokenRequest);
      });
      next();
    },

    countEvents(takenIn) {
      for (const { event, outcome, details } of takenIn) {
        if (!isKnown(event)) continue;
        events.inc({ event, outcome });
        if (event === 'login.succeeded') logins.inc({ method: loginMethod(details), outcome: 'succeeded' });
        if (event === 'login.failed') logins.inc({ method: failedMethod(details), outcome: 'failed' });
        if (event === 'login.throttled') logins.inc({ method: failedMethod(details), outcome: 'throttled' });
      }
    },

    startHash(operation) {
      const end = hashes.startTimer({ operation });
      return (outcome) => void end({ outcome });
    },

    async read() {
      const [processes, database] = await Promise.all([siblings ? siblings.all() : [await own()], gauges.collect()]);
      const whole = AggregatorRegistry.aggregate([...processes, database]);
      return { contentType: whole.contentType, text: await whole.metrics() };
    },

    close() {
      loop.disable();
    },
  };
}

/** A newer version may run beside this one and record what this one does not know. */
function isKnown(event: string): boolean {
  return (auditEventNames as readonly string[]).includes(event);
}

function watchPool(pool: OpenDatabase['pool'], registry: Registry): void {
  const registers = [registry];
  new Gauge({
    name: 'latchkey_database_pool_connections',
    help: 'Connections to the database that are open, by what they do',
    labelNames: ['state'],
    registers,
    collect() {
      this.set({ state: 'idle' }, pool.idleCount);
      this.set({ state: 'busy' }, pool.totalCount - pool.idleCount);
    },
  });
  new Gauge({
    name: 'latchkey_database_pool_max',
    help: 'Connections to the database that there may be',
    registers,
  }).set(pool.options.max);
  new Gauge({
    name: 'latchkey_database_pool_waiting',
    help: 'Statements and transactions that wait for a connection',
    registers,
    collect() {
      this.set(pool.waitingCount);
    },
  });
  const uses = new Counter({
    name: 'latchkey_database_uses_total',
    help: 'Single statements and transactions that got a connection',
    registers,
  });
  pool.on('acquire', () => uses.inc());
}

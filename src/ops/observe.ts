import type { Logger } from 'pino';
import type { TakenIn } from '../audit/chain.ts';
import { type OpenDatabase, reasonOf } from '../db/database.ts';
import { watchStatements } from '../db/watch-statements.ts';
import type { Outbound } from '../http/outbound.ts';
import type { BcryptPool } from '../lib/bcrypt-pool.ts';
import { createDatabaseGauges } from './database-gauges.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import type { Siblings } from './metrics-workers.ts';
import { sweepLag } from './sweep.ts';
import { startTracing, type Tracing, type TracingConfig } from './tracing.ts';
import { watchBcrypt } from './watch-bcrypt.ts';

/** Metrics, and traces where they are wanted, of one application: hands out its parts with somebody watching. */
export type Observation = {
  metrics: Metrics;
  tracing: Tracing | undefined;
  bcrypt(pool: BcryptPool): BcryptPool;
  outbound(outbound: Outbound): Outbound;
  countEvents(events: readonly TakenIn[]): void;
  close(): Promise<void>;
};

type Dependencies = {
  config: { tracing: TracingConfig | undefined };
  database: OpenDatabase;
  log: Pick<Logger, 'warn'>;
  siblings: Siblings | undefined;
};

export async function observe({ config, database, log, siblings }: Dependencies): Promise<Observation> {
  const { db, pool } = database;
  const gauges = createDatabaseGauges({ db, sweepLag: () => sweepLag(db) });
  const metrics = createMetrics({ pool, gauges, siblings });
  const tracing = await startTracing(config.tracing, (error) =>
    log.warn({ reason: reasonOf(error) }, 'traces do not reach OTEL_EXPORTER_OTLP_ENDPOINT'),
  );
  if (tracing) watchStatements(pool, tracing.startStatement);
  return {
    metrics,
    tracing,
    bcrypt: (bcrypt) => watchBcrypt(bcrypt, tracing ? [metrics.startHash, tracing.startHash] : [metrics.startHash]),
    outbound: (outbound) => (tracing ? { ...outbound, fetch: tracing.fetch(outbound.fetch) } : outbound),
    countEvents: metrics.countEvents,
    async close() {
      metrics.close();
      await tracing?.close();
    },
  };
}

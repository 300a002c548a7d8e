/**
 * Several workers listen on one port, so a scrape meets any of them and must hear of all. The worker that is asked asks
 * the primary over IPC, the primary asks every worker. Counters of workers that are gone are kept by the primary: a sum
 * that falls would look like a restart, and every rate over it would jump.
 */
import type { Cluster, Worker } from 'node:cluster';
import type { MetricObjectWithValues, MetricValue } from 'prom-client';

/** The metrics of one process, in a form that can be sent and added up. */
export type ProcessMetrics = MetricObjectWithValues<MetricValue<string>>[];

/** What a worker knows of the others; absent when there is one process. */
export type Siblings = {
  /** What this worker answers when it is asked. */
  offer(own: () => Promise<ProcessMetrics>): void;
  /** Of every worker, this one included. Rejects when the primary does not answer in time. */
  all(): Promise<ProcessMetrics[]>;
};

type Message =
  | { type: 'latchkey:metrics-of-all?'; id: number }
  | { type: 'latchkey:metrics-of-all'; id: number; metrics: ProcessMetrics[] }
  | { type: 'latchkey:metrics?'; id: number }
  | { type: 'latchkey:metrics'; id: number; metrics: ProcessMetrics };

/** For a worker that does not answer the primary, what it said last is taken; a scraper waits ten seconds at most. */
const workerPatienceMs = 1_000;
const primaryPatienceMs = 3_000;

type Channel = Pick<NodeJS.Process, 'send' | 'on'>;

/** The side of a worker. Call once per process. */
export function siblingMetrics(channel: Channel = process): Siblings {
  const asked = new Map<number, (metrics: ProcessMetrics[]) => void>();
  let own: () => Promise<ProcessMetrics> = async () => [];
  let lastId = 0;
  const send = (message: Message) => void channel.send?.(message, undefined, undefined, ignoreClosedChannel);

  channel.on('message', async (message: Message) => {
    if (message?.type === 'latchkey:metrics-of-all') asked.get(message.id)?.(message.metrics);
    if (message?.type !== 'latchkey:metrics?') return;
    send({ type: 'latchkey:metrics', id: message.id, metrics: await own().catch(() => []) });
  });

  return {
    offer(more) {
      own = more;
    },
    async all() {
      lastId += 1;
      const id = lastId;
      const { promise, resolve, reject } = Promise.withResolvers<ProcessMetrics[]>();
      const timer = setTimeout(() => reject(new Error('the primary process does not answer')), primaryPatienceMs);
      asked.set(id, resolve);
      send({ type: 'latchkey:metrics-of-all?', id });
      return promise.finally(() => {
        clearTimeout(timer);
        asked.delete(id);
      });
    },
  };
}

/** The side of the primary: answers what its workers ask of each other. Call once, before the first worker is made. */
export function relayMetrics(cluster: Pick<Cluster, 'on' | 'workers'>): void {
  const last = new Map<number, ProcessMetrics>();
  const waiting = new Map<number, (worker: Worker, metrics: ProcessMetrics) => void>();
  let departed: ProcessMetrics = [];
  let folding: Promise<void> = Promise.resolve();
  let lastId = 0;

  cluster.on('message', async (worker: Worker, message: Message) => {
    if (message?.type === 'latchkey:metrics') {
      // An empty answer is one that failed.
      if (message.metrics.length > 0) last.set(worker.id, message.metrics);
      waiting.get(message.id)?.(worker, message.metrics);
    }
    if (message?.type !== 'latchkey:metrics-of-all?') return;
    await askAll();
    await folding;
    const metrics = [...last.values(), departed];
    if (worker.isConnected()) tell(worker, { type: 'latchkey:metrics-of-all', id: message.id, metrics });
  });

  cluster.on('exit', (worker: Worker) => {
    const gone = last.get(worker.id);
    last.delete(worker.id);
    if (gone) folding = folding.then(() => fold(gone)).catch(() => {});
  });

  async function askAll(): Promise<void> {
    lastId += 1;
    const id = lastId;
    const missing = new Set(Object.values(cluster.workers ?? {}).filter((worker) => worker?.isConnected()));
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, workerPatienceMs);
    waiting.set(id, (worker) => {
      missing.delete(worker);
      if (missing.size === 0) resolve();
    });
    for (const worker of missing) if (worker) tell(worker, { type: 'latchkey:metrics?', id });
    await promise;
    clearTimeout(timer);
    waiting.delete(id);
  }

  /** Of what is gone only counts go on; its memory and its connections do not. */
  async function fold(gone: ProcessMetrics): Promise<void> {
    const { AggregatorRegistry } = await import('prom-client');
    const counts = gone.filter(({ type }) => ['counter', 'histogram'].includes(String(type)));
    departed = await AggregatorRegistry.aggregate([departed, counts]).getMetricsAsJSON();
  }
}

function tell(worker: Worker, message: Message): void {
  worker.send(message, undefined, ignoreClosedChannel);
}

/** Whoever ends just now is asked nothing more. */
function ignoreClosedChannel(): void {}

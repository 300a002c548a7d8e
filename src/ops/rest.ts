/**
 * Gives memory back once it is quiet. V8 does so where it can tell; in Node it cannot: its memory reducer (`--trace-memory-reducer`)
 * takes a process for busy whose embedder allocates nothing on V8's heap, and Node's never does. So what a start or a
 * busy hour took, 30 MB of young generation above all, would stay for good.
 */
import { Session } from 'node:inspector/promises';
import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { Background } from '../lib/background.ts';

const lookEveryMs = 20_000;
/** The share of the time since the last look in which something ran. The server's own jobs take half a percent. */
const quiet = 0.02;
/** A collection stops the process for a tenth of a second: not for less than this. */
const worthBytes = 16 * 2 ** 20;

/** What is looked at, and done. */
export type Heap = {
  utilization(since?: EventLoopUtilization): EventLoopUtilization;
  /** What the heap takes of the machine's memory. */
  bytes(): number;
  collect(): Promise<void>;
};

/** Looks now and then whether it is quiet and a collection would be worth it, in every process. */
export function restWhenQuiet(background: Pick<Background, 'repeat'>, heap: Heap = ownHeap): void {
  let utilization = heap.utilization();
  let rested = 0;
  background.repeat(
    'giving memory back',
    lookEveryMs,
    async () => {
      const since = heap.utilization(utilization);
      utilization = heap.utilization();
      if (since.utilization > quiet || heap.bytes() < rested + worthBytes) return;
      await heap.collect();
      rested = heap.bytes();
    },
    { everyProcess: true },
  );
}

/** Of this process. */
export const ownHeap: Heap = {
  utilization: (since) => performance.eventLoopUtilization(since),
  bytes: () => getHeapStatistics().total_physical_size,
  async collect() {
    const session = new Session();
    session.connect();
    try {
      await session.post('HeapProfiler.collectGarbage');
    } finally {
      session.disconnect();
    }
  },
};

/** The server's own memory: after its start, and over an hour of load of every kind. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { CompareOptions } from './compare.ts';
import { measure } from './compare.ts';
import { flows } from './flows.ts';
import { median } from './numbers.ts';
import { startLatchkey } from './providers.ts';

export type Memory = {
  /** Megabytes resident, a minute after the start. */
  idle: number;
  minutes: number;
  /** Megabytes after each minute of load, with a pause before it is read. */
  underLoad: number[];
  /** The last quarter's median as a share of the second quarter's. */
  growth: number;
  requests: number;
};

export async function measureMemory(options: CompareOptions & { minutes: number }): Promise<Memory> {
  const { databaseUrl, serverCpus: cpus, minutes, progress } = options;
  const provider = await startLatchkey('bench_memory', { databaseUrl, cpus });
  try {
    await delay(Math.min(60, minutes * 60) * 1000);
    const idle = residentMegabytes(provider.pid);
    const underLoad: number[] = [];
    let requests = 0;
    for (let minute = 1; minute <= minutes; minute += 1) {
      const end = performance.now() + 60_000;
      for (let next = 0; performance.now() < end; next += 1) {
        const flow = flows[next % flows.length];
        if (flow) requests += (await measure(flow, provider, 2)).count;
      }
      underLoad.push(residentMegabytes(provider.pid));
      progress(`minute ${minute} of ${minutes}: ${underLoad.at(-1)} MB, ${requests} requests`);
    }
    const quarter = Math.max(1, Math.floor(minutes / 4));
    const growth = median(underLoad.slice(-quarter)) / median(underLoad.slice(quarter, 2 * quarter));
    return { idle, minutes, underLoad, growth, requests };
  } finally {
    await provider.stop();
  }
}

function residentMegabytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kilobytes) / 1024);
}

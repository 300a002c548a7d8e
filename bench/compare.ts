/** The comparison: Latchkey, the bare library in memory, and the plainest PostgreSQL adapter, in turn and repeated. */
import { type Flow, flows } from './flows.ts';
import { type Load, load, together } from './load.ts';
import { median, type Progress, ratio } from './numbers.ts';
import { type ProviderUnderTest, startBare, startLatchkey } from './providers.ts';

export type Compared = {
  flow: string;
  title: string;
  /** Per second, medians of the rounds. */
  latchkey: number;
  memory: number;
  plain: number;
  /** Of Latchkey, milliseconds. */
  p50: number;
  p99: number;
  /** Latchkey's speed as a share of each; the least and the most of any round. */
  toMemory: Ratio;
  toPlain: Ratio;
};

export type Ratio = { median: number; least: number; most: number };

export type CompareOptions = {
  databaseUrl: string;
  serverCpus: string | undefined;
  rounds: number;
  seconds: number;
  only: readonly string[];
  progress: Progress;
};

export const connections = 16;

export async function compare({
  databaseUrl,
  serverCpus: cpus,
  rounds,
  seconds,
  only,
  progress,
}: CompareOptions): Promise<Compared[]> {
  const providers = [
    await startLatchkey('bench_latchkey', { databaseUrl, cpus }),
    await startBare({ cpus }),
    await startBare({ cpus, databaseUrl }),
  ];
  try {
    const results: Compared[] = [];
    for (const flow of flows.filter(({ name }) => only.length === 0 || only.includes(name))) {
      results.push(await compareFlow(flow, providers, { rounds, seconds, progress }));
    }
    return results;
  } finally {
    await Promise.all(providers.map((provider) => provider.stop()));
  }
}

async function compareFlow(
  flow: Flow,
  providers: ProviderUnderTest[],
  { rounds, seconds, progress }: Pick<CompareOptions, 'rounds' | 'seconds' | 'progress'>,
): Promise<Compared> {
  const [own = [], memory = [], plain = []] = await measureInTurn(flow, providers, { rounds, seconds, progress });
  return {
    flow: flow.name,
    title: flow.title,
    latchkey: median(speeds(own)),
    memory: median(speeds(memory)),
    plain: median(speeds(plain)),
    p50: median(own.map(({ p50 }) => p50)),
    p99: median(own.map(({ p99 }) => p99)),
    toMemory: ratio(speeds(own), speeds(memory)),
    toPlain: ratio(speeds(own), speeds(plain)),
  };
}

/** The loads of each provider, a round after the other. `warmUp`: seconds that are not counted, in which it compiles, connects and caches. */
export async function measureInTurn(
  flow: Flow,
  providers: readonly ProviderUnderTest[],
  { rounds, seconds, warmUp = Math.min(1, seconds), progress }: Turns,
): Promise<Load[][]> {
  const loads: Load[][] = providers.map(() => []);
  for (const provider of providers) await measure(flow, provider, warmUp);
  for (let round = 0; round < rounds; round += 1) {
    // Whoever goes first in one round goes last in another.
    const order = providers.map((_, index) => (index + round) % providers.length);
    for (const index of order) {
      progress(`${flow.title}: round ${round + 1} of ${rounds}`);
      loads[index]?.push(await measure(flow, providers[index] as ProviderUnderTest, seconds));
    }
  }
  return loads;
}

type Turns = Pick<CompareOptions, 'rounds' | 'seconds' | 'progress'> & { warmUp?: number };

export const speeds = (loads: readonly Load[] = []): number[] => loads.map(({ perSecond }) => perSecond);

/** The library's in-memory adapter forgets what is more than a thousand: inputs that are good once are made in small lots. */
const lot = 100;

export async function measure(flow: Flow, provider: ProviderUnderTest, seconds: number): Promise<Load> {
  const run = (input: unknown) => flow.run(provider, input as never);
  const consume = flow.consumes === true;
  const loads: Load[] = [];
  for (let left = seconds; left > 0; left -= loads.at(-1)?.seconds ?? seconds) {
    const inputs = await flow.prepare(provider, consume ? lot : connections);
    loads.push(await load(run, { inputs, seconds: left }, { connections, consume }));
  }
  return together(loads);
}

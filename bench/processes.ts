/** One worker process and two, where the database is not the limit. */
import type { CompareOptions, Ratio } from './compare.ts';
import { measure } from './compare.ts';
import { flows } from './flows.ts';
import { median, ratio } from './numbers.ts';
import { startLatchkey } from './providers.ts';

export type Processes = { flow: string; title: string; one: number; two: number; ratio: Ratio };

const measured = ['discovery', 'client-credentials-jwt', 'authorization', 'userinfo'];

export async function measureProcesses({
  databaseUrl,
  rounds,
  seconds,
  only,
  progress,
}: CompareOptions): Promise<Processes[]> {
  const chosen = flows.filter(({ name }) => (only.length > 0 ? only : measured).includes(name));
  const speeds = new Map(chosen.map(({ name }) => [name, { one: [] as number[], two: [] as number[] }]));
  const one = await startLatchkey('bench_processes', { databaseUrl, env: { WEB_CONCURRENCY: '1' } });
  const two = await startLatchkey('bench_processes', { databaseUrl, env: { WEB_CONCURRENCY: '2' } });
  try {
    for (const flow of chosen) {
      for (const provider of [one, two]) await measure(flow, provider, 1);
      for (let round = 0; round < rounds; round += 1) {
        progress(`${flow.title}: round ${round + 1} of ${rounds}`);
        const own = speeds.get(flow.name);
        for (const count of round % 2 === 0 ? (['one', 'two'] as const) : (['two', 'one'] as const)) {
          own?.[count].push((await measure(flow, { one, two }[count], seconds)).perSecond);
        }
      }
    }
  } finally {
    await Promise.all([one.stop(), two.stop()]);
  }
  return chosen.map(({ name, title }) => {
    const { one: single = [], two: double = [] } = speeds.get(name) ?? {};
    return { flow: name, title, one: median(single), two: median(double), ratio: ratio(double, single) };
  });
}

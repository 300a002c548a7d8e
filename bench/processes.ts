/** One worker process and two, where the database is not the limit. */
import { type CompareOptions, measureInTurn, type Ratio, speeds } from './compare.ts';
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
  const one = await startLatchkey('bench_processes', { databaseUrl, env: { WEB_CONCURRENCY: '1' } });
  const two = await startLatchkey('bench_processes', { databaseUrl, env: { WEB_CONCURRENCY: '2' } });
  try {
    const results: Processes[] = [];
    for (const flow of chosen) {
      const loads = await measureInTurn(flow, [one, two], { rounds, seconds, warmUp: 1, progress });
      const [ofOne = [], ofTwo = []] = loads.map(speeds);
      const { name, title } = flow;
      results.push({ flow: name, title, one: median(ofOne), two: median(ofTwo), ratio: ratio(ofTwo, ofOne) });
    }
    return results;
  } finally {
    await Promise.all([one.stop(), two.stop()]);
  }
}

/**
 * One worker process and two, on all cores. The loader is wrk, which leaves them the machine: ours would take as much of it as a
 * server.
 */
import { type CompareOptions, connections, type Ratio } from './compare.ts';
import { type Flow, flows } from './flows.ts';
import { median, ratio } from './numbers.ts';
import { type ProviderUnderTest, startLatchkey } from './providers.ts';
import { findWrk, type Wrk } from './wrk.ts';

export type Processes = { flow: string; title: string; one: number; two: number; ratio: Ratio };

const measured = ['discovery', 'client-credentials-jwt', 'client-credentials-opaque', 'userinfo'];

export async function measureProcesses({
  databaseUrl,
  rounds,
  seconds,
  only,
  progress,
}: CompareOptions): Promise<Processes[]> {
  const wrk = await findWrk();
  const chosen = flows.filter(({ name, request }) => request && (only.length > 0 ? only : measured).includes(name));
  const one = await startLatchkey('bench_processes', { databaseUrl, env: { WEB_CONCURRENCY: '1' } });
  const two = await startLatchkey('bench_processes', { databaseUrl, env: { WEB_CONCURRENCY: '2' } });
  try {
    const results: Processes[] = [];
    for (const flow of chosen) {
      const ofOne: number[] = [];
      const ofTwo: number[] = [];
      for (const provider of [one, two]) await perSecond(wrk, flow, provider, 2);
      for (let round = 0; round < rounds; round += 1) {
        progress(`${flow.title}: round ${round + 1} of ${rounds}`);
        ofOne.push(await perSecond(wrk, flow, one, seconds));
        ofTwo.push(await perSecond(wrk, flow, two, seconds));
      }
      const { name, title } = flow;
      results.push({ flow: name, title, one: median(ofOne), two: median(ofTwo), ratio: ratio(ofTwo, ofOne) });
    }
    return results;
  } finally {
    await Promise.all([one.stop(), two.stop()]);
  }
}

async function perSecond(wrk: Wrk, flow: Flow, provider: ProviderUnderTest, seconds: number): Promise<number> {
  const [input] = await flow.prepare(provider, 1);
  const request = flow.request?.(provider, input as never);
  if (!request) throw new Error(`${flow.name} is more than one request`);
  return wrk(request, { connections, seconds });
}

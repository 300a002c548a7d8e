/** A storm of sign-ins with passwords: how near it comes to raw bcrypt, and what the token endpoint feels of it. */
import { availableParallelism } from 'node:os';
import bcrypt from 'bcrypt';
import { type CompareOptions, connections, measure, type Ratio } from './compare.ts';
import { flows } from './flows.ts';
import { expectStatus, type Load, load, send, summary } from './load.ts';
import { median, ratio } from './numbers.ts';
import { type ProviderUnderTest, person, startLatchkey } from './providers.ts';

export type Logins = {
  rounds: number;
  /** Comparisons per second of bcrypt alone, as many at once as Latchkey has threads for them. */
  raw: number;
  logins: number;
  ratio: Ratio;
  /** Client credentials, JWT: milliseconds without and with the storm. */
  tokenP99: { quiet: number; storm: number; ratio: Ratio };
};

/** Those that one process of Latchkey takes for passwords: a core is left to its event loop. */
const threads = Math.max(1, Math.min(2, availableParallelism() - 1));
/** As production has it by default. */
const costs = '12';

export async function measureLogins({ databaseUrl, rounds, seconds, progress }: CompareOptions): Promise<Logins> {
  // A sign-in takes a quarter of a second: a short time would count few.
  const long = Math.max(seconds, 5);
  const provider = await startLatchkey('bench_logins', { databaseUrl, env: { BCRYPT_ROUNDS: costs } });
  const token = flows.find(({ name }) => name === 'client-credentials-jwt');
  if (!token) throw new Error('there is no such flow');
  try {
    const hash = await bcrypt.hash(person.password, Number(costs));
    const raw: number[] = [];
    const logins: number[] = [];
    const quiet: number[] = [];
    const storm: number[] = [];
    await storms(provider, 1);
    await measure(token, provider, 1);
    for (let round = 0; round < rounds; round += 1) {
      progress(`sign-ins: round ${round + 1} of ${rounds}`);
      raw.push((await compareRaw(hash, long)).perSecond);
      logins.push((await storms(provider, long)).perSecond);
      quiet.push((await steady(token, provider, long)).p99);
      const [, under] = await Promise.all([storms(provider, long), steady(token, provider, long)]);
      storm.push(under.p99);
    }
    return {
      rounds: Number(costs),
      raw: median(raw),
      logins: median(logins),
      ratio: ratio(logins, raw),
      tokenP99: { quiet: median(quiet), storm: median(storm), ratio: ratio(storm, quiet) },
    };
  } finally {
    await provider.stop();
  }
}

const many = <T>(make: () => T) => Array.from({ length: connections }, make);

function storms(provider: ProviderUnderTest, seconds: number): Promise<Load> {
  const signIn = async () => {
    expectStatus(await send(`${provider.origin}/auth/login`, { method: 'POST', json: person }), 200);
    return undefined;
  };
  return load(signIn, { inputs: many(() => ({})), seconds }, { connections: 8, consume: false });
}

function compareRaw(hash: string, seconds: number): Promise<Load> {
  const compare = async () => {
    await bcrypt.compare(person.password, hash);
    return undefined;
  };
  return load(compare, { inputs: many(() => ({})), seconds }, { connections: threads, consume: false });
}

/** Twenty requests a second: what waits is the server, not the loader. */
async function steady(flow: (typeof flows)[number], provider: ProviderUnderTest, seconds: number): Promise<Load> {
  const times: number[] = [];
  const asked: Promise<void>[] = [];
  for (let count = 0; count < seconds * 20; count += 1) {
    const began = performance.now();
    asked.push(flow.run(provider, {} as never).then(() => void times.push(performance.now() - began)));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await Promise.all(asked);
  return summary(times, seconds);
}

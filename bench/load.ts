/** The loader: a closed loop over keep-alive connections, the same for every provider that is measured. */
import { Agent, request } from 'undici';

export type Load = {
  /** Finished per second. */
  perSecond: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  count: number;
  /** How long it took. */
  seconds: number;
  times: number[];
};

const agent = new Agent({ connections: 64, pipelining: 1, keepAliveTimeout: 60_000 });

export type Answer = { status: number; headers: Record<string, string | string[] | undefined>; text: string };

export type Asked = {
  method?: 'GET' | 'POST';
  headers?: Record<string, string>;
  form?: Record<string, string>;
  json?: object;
};

/** One request, from one of many addresses: limits per address are part of a provider, and not what is measured. */
export async function send(url: string, { method = 'GET', headers = {}, form, json }: Asked = {}): Promise<Answer> {
  const body = form ? new URLSearchParams(form).toString() : json && JSON.stringify(json);
  const type = form ? 'application/x-www-form-urlencoded' : 'application/json';
  const response = await request(url, {
    method,
    dispatcher: agent,
    headers: { 'x-forwarded-for': someAddress(), ...(body !== undefined && { 'content-type': type }), ...headers },
    ...(body !== undefined && { body }),
  });
  return { status: response.statusCode, headers: response.headers, text: await response.body.text() };
}

/** Ten thousand, as a busy provider sees them within minutes; each stays far below every limit. */
function someAddress(): string {
  const number = Math.floor(Math.random() * 10_000);
  return `10.0.${Math.floor(number / 100)}.${(number % 100) + 1}`;
}

/** Throws unless the answer has `status`: a failing request would look like a fast one. */
export function expectStatus(answer: Answer, status: number): Answer {
  if (answer.status !== status) throw new Error(`${answer.status} instead of ${status}: ${answer.text.slice(0, 300)}`);
  return answer;
}

/** Runs `work` in `connections` loops until the time is over or the inputs are used up. */
export async function load<Input>(
  work: (input: Input) => Promise<Input | undefined>,
  { inputs, seconds }: { inputs: Input[]; seconds: number },
  { connections, consume }: { connections: number; consume: boolean },
): Promise<Load> {
  const left = consume ? [...inputs] : [];
  const times: number[] = [];
  const start = performance.now();
  const end = start + seconds * 1000;
  const loop = async (own: Input | undefined) => {
    let input = consume ? left.pop() : own;
    while (input !== undefined && performance.now() < end) {
      const began = performance.now();
      const next = await work(input);
      times.push(performance.now() - began);
      input = consume ? left.pop() : (next ?? input);
    }
  };
  await Promise.all(Array.from({ length: connections }, (_, index) => loop(inputs[index % inputs.length])));
  return summary(times, (performance.now() - start) / 1000);
}

/** Several loads as one. */
export function together(loads: readonly Load[]): Load {
  return summary(
    loads.flatMap(({ times }) => times),
    loads.reduce((sum, { seconds }) => sum + seconds, 0),
  );
}

/** `times` in milliseconds. */
export function summary(times: number[], seconds: number): Load {
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  return { perSecond: times.length / seconds, p50: at(0.5), p99: at(0.99), count: times.length, seconds, times };
}

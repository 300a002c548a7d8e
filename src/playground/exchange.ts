/** One HTTP request of the playground, written down with its answer. */

export type Pair = readonly [name: string, value: string];

export type Exchange = {
  method: 'GET' | 'POST';
  url: string;
  headers: Pair[];
  /** The query of a GET, the form of a POST. */
  parameters: Pair[];
  milliseconds: number;
  /** Absent when none came. */
  response?: { status: number; statusText: string; headers: Pair[]; body: string } | undefined;
};

const timeoutMs = 10_000;

/** Headers of an answer that say something about the protocol. */
const telling = ['content-type', 'cache-control', 'www-authenticate', 'retry-after'];

/**
 * Sends a request and never throws for what comes of it: no answer within ten seconds, or none at all, is an exchange
 * without a response. The address is the operator's own, so private ones are fine; redirects are not followed.
 */
export async function exchange(request: {
  method: 'GET' | 'POST';
  url: string;
  headers?: Pair[];
  form?: Pair[];
}): Promise<Exchange> {
  const { method, url, headers = [], form } = request;
  const sent: Exchange = { method, url, headers, parameters: form ?? [], milliseconds: 0 };
  const startedAt = performance.now();
  try {
    const answer = await fetch(url, {
      method,
      headers: [['accept', 'application/json'], ...headers] as [string, string][],
      ...(form && { body: new URLSearchParams(form as [string, string][]) }),
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const body = await answer.text();
    const kept = [...answer.headers].filter(([name]) => telling.includes(name));
    const response = { status: answer.status, statusText: answer.statusText, headers: kept, body };
    return { ...sent, milliseconds: since(startedAt), response };
  } catch {
    return { ...sent, milliseconds: since(startedAt) };
  }
}

function since(startedAt: number): number {
  return Math.round(performance.now() - startedAt);
}

/** The JSON object that a successful answer carries. */
export function resultOf({ response }: Exchange): Record<string, unknown> | undefined {
  return response && response.status >= 200 && response.status < 300 ? jsonOf(response.body) : undefined;
}

/** The JSON object in a text, if it is one. */
export function jsonOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * `fetch` that writes down what was said, to be shown. What opens something is shown by its first letters only: a
 * screenshot of this page, or an extension that reads it, should not carry a token away.
 */

export type Pair = [name: string, value: string];

export type Exchange = {
  method: string;
  url: string;
  /** Of the headers that say something about the protocol. */
  headers: Pair[];
  /** The form of a POST. */
  form: Pair[];
  /** What the DPoP header claims (RFC 9449 §4.2). */
  proof: Record<string, unknown> | undefined;
  /** Absent when none came. */
  answer?: { status: number; headers: Pair[]; body: unknown };
};

const timeoutMs = 10_000;
const telling = ['content-type', 'dpop-nonce', 'www-authenticate', 'retry-after'];
const secrets = ['access_token', 'refresh_token', 'id_token', 'id_token_hint', 'code', 'code_verifier', 'token'];

const recorded: Exchange[] = [];

/** What was said since the last time. */
export const takeExchanges = () => recorded.splice(0);

/** Nobody answered, or the provider said itself that it cannot: both are over by themselves some time. */
export class NoAnswerError extends Error {}

type Request = { method: string; headers: Record<string, string>; body?: BodyInit | null | undefined };

/**
 * Sends a request as the library wants it sent. An answer that does not come within ten seconds is none. Redirects are
 * not followed, and cookies are neither sent nor kept: no answer may depend on who is signed in at the provider.
 * @throws {NoAnswerError}
 */
export async function recordingFetch(url: string, { method, headers, body = null }: Request): Promise<Response> {
  const exchange = { method, url, ...shownOf(headers), form: body instanceof URLSearchParams ? [...body] : [] };
  exchange.form = withoutSecrets(exchange.form);
  let answer: Response;
  let text: string;
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    answer = await fetch(url, {
      ...{ method, headers, body, signal },
      ...{ cache: 'no-cache', credentials: 'omit', redirect: 'error' },
    });
    text = await answer.clone().text();
  } catch (cause) {
    // A page is not told more: no connection, an answer without CORS headers and an end after ten seconds look alike.
    recorded.push(exchange);
    throw new NoAnswerError(url, { cause });
  }
  const headersShown = [...answer.headers].filter(([name]) => telling.includes(name));
  recorded.push({ ...exchange, answer: { status: answer.status, headers: headersShown, body: readable(text) } });
  if (answer.status >= 500) throw new NoAnswerError(url);
  return answer;
}

function shownOf({ authorization, dpop }: Record<string, string>): Pick<Exchange, 'headers' | 'proof'> {
  const headers: Pair[] = [];
  if (authorization) headers.push(['authorization', shortened(authorization, authorization.indexOf(' ') + 1)]);
  if (dpop) headers.push(['dpop', shortened(dpop)]);
  return { headers, proof: dpop === undefined ? undefined : decode(dpop.split('.')[1]) };
}

/** Parameters as they may be shown. */
export function withoutSecrets(pairs: Pair[]): Pair[] {
  return pairs.map(([name, value]) => [name, secrets.includes(name) ? shortened(value) : value]);
}

function shortened(value: string, start = 0): string {
  return value.length > start + 6 ? `${value.slice(0, start + 6)}…` : value;
}

function readable(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text, (name, value) =>
      secrets.includes(name) && typeof value === 'string' ? shortened(value) : value,
    );
  } catch {
    return text.slice(0, 200);
  }
}

function decode(part = ''): Record<string, unknown> {
  const bytes = Uint8Array.from(atob(part.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
}

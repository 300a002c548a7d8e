/**
 * Tokens on the calling side: kept as long as they are good, renewed a little before they expire, by one request
 * however many calls wait for it; and a call that is refused with 401 is made once more with a new one.
 */
import { notNow, type Problem } from './problems.ts';
import { type Provider, requestToken, type Wish } from './provider.ts';
import { say } from './say.ts';

export type KeptToken = {
  /** The token, from here or from Latchkey. */
  get(): Promise<string>;
  /** Another one than the one that was refused; undefined when Latchkey gives none. */
  instead(refused: string): Promise<string | undefined>;
};

type Issued = { access_token: string; expires_in?: number | undefined };

const renewBeforeMs = 30_000;

/** Keeps what `request` answers. It stays in memory: a token is cheap to get and dear to lose. */
export function keepToken(request: () => Promise<Issued>): KeptToken {
  let kept: { token: string; expiresAt: number } | undefined;
  let underWay: Promise<string> | undefined;

  async function renew(): Promise<string> {
    const { access_token: token, expires_in: seconds = 0 } = await request();
    kept = { token, expiresAt: Date.now() + seconds * 1000 };
    return token;
  }

  /** Everybody who needs a new one now waits for the same request. */
  function renewOnce(): Promise<string> {
    underWay ??= renew().finally(() => {
      underWay = undefined;
    });
    return underWay;
  }

  return {
    async get() {
      const left = kept ? kept.expiresAt - Date.now() : 0;
      if (kept && left > renewBeforeMs) return kept.token;
      if (!kept || left <= 0) return renewOnce();
      // Its last seconds: if Latchkey is away just now, there is still time to try again.
      const { token } = kept;
      return renewOnce().catch(() => token);
    },
    async instead(refused) {
      // Somebody else was refused before us, and has a new one already.
      if (kept && kept.token !== refused) return kept.token;
      return renewOnce().catch((problem: Problem) => {
        say(`was refused, and gets no other token. ${problem.message}`);
        return undefined;
      });
    },
  };
}

/** The program's own token for an API (RFC 6749 §4.4). */
export function ownToken(provider: Provider, wish: Wish): KeptToken {
  return keepToken(async () => {
    const answer = await requestToken(provider, wish);
    say(`got a token for ${wish.resource} with ${wish.scope}, good for ${answer.expires_in} s`);
    return answer;
  });
}

export type Answer = { status: number; headers: Headers; text: string };

/** Calls with a kept token. */
export async function callWith(kept: KeptToken, url: URL, request: RequestInit = {}): Promise<Answer> {
  const token = await kept.get();
  const answer = await call(url, token, request);
  const other = answer.status === 401 ? await kept.instead(token) : undefined;
  return other ? call(url, other, request) : answer;
}

/** Calls with one token. No service is waited for longer than five seconds. */
export async function call(url: URL, token: string, request: RequestInit = {}): Promise<Answer> {
  const headers = { ...request.headers, authorization: `Bearer ${token}` };
  try {
    const options = { ...request, headers, redirect: 'error', signal: AbortSignal.timeout(5_000) } as const;
    const response = await fetch(url, options);
    return { status: response.status, headers: response.headers, text: await response.text() };
  } catch (error) {
    throw notNow('The service', url.origin, error);
  }
}

/**
 * 5. A copy of something of the provider's, kept in this isolate's memory. Cloudflare runs many isolates: each asks once
 * for itself, some requests in parallel when they come at the same moment (one request's I/O cannot be awaited by another).
 *
 * Not in KV: whoever could write there could plant a key of their own.
 */

type Rules = {
  /** So long the copy is used without asking. */
  freshMs: number;
  /** So long it is used when asking fails. */
  usableMs: number;
  /** How often `renew` asks, however often it is called. */
  coolDownMs?: number;
  now?: () => number;
};

/** After a failure nobody asks again for so long: a provider that comes back is not met by everybody at once. */
const pauseMs = 2_000;

export function createCopy<Value>({ freshMs, usableMs, coolDownMs = 30_000, now = Date.now }: Rules) {
  let copy: { value: Value; since: number } | undefined;
  let failed: { error: unknown; since: number } | undefined;
  let renewedSince = Number.NEGATIVE_INFINITY;

  async function ask(load: () => Promise<Value>): Promise<Value> {
    if (failed && now() - failed.since < pauseMs) throw failed.error;
    try {
      copy = { value: await load(), since: now() };
      failed = undefined;
      return copy.value;
    } catch (error) {
      failed = { error, since: now() };
      throw error;
    }
  }

  return {
    async get(load: () => Promise<Value>): Promise<Value> {
      const kept = copy;
      if (kept && now() - kept.since < freshMs) return kept.value;
      return ask(load).catch((error: unknown) => {
        if (kept && now() - kept.since < usableMs) return kept.value;
        throw error;
      });
    },

    /** For what a fresh copy lacks. Undefined when somebody asked for the same reason a moment ago: then it is not there. */
    async renew(load: () => Promise<Value>): Promise<Value | undefined> {
      if (now() - renewedSince < coolDownMs) return undefined;
      renewedSince = now();
      return ask(load);
    },
  };
}

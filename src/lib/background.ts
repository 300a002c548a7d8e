/** Work that no answer waits for, but the end of the process does. */
export type Background = {
  /** Starts `work`; a failure is told to `onError` and to nobody else. */
  run(name: string, work: () => Promise<unknown>): void;
  /**
   * Starts `work` again and again, `everyMs` after it was done the last time and for the first time after `everyMs`.
   * `wake` starts it without waiting; one run never overlaps another. Of several processes of one server only the
   * leading one repeats, unless the work is `everyProcess`'s own; the others start it when woken.
   */
  repeat(
    name: string,
    everyMs: number,
    work: () => Promise<unknown>,
    options?: { everyProcess?: boolean },
  ): { wake(): void };
  /** Starts nothing more and resolves when all that was started is done. */
  close(): Promise<void>;
  /** Aborts when `close` is called: what takes long ends early then. */
  closing: AbortSignal;
};

export function createBackground(
  onError: (name: string, error: unknown) => void,
  { leads = true }: { leads?: boolean } = {},
): Background {
  const underWay = new Set<Promise<unknown>>();
  const timers = new Set<NodeJS.Timeout>();
  const closing = new AbortController();
  let closed = false;

  function run(name: string, work: () => Promise<unknown>): Promise<unknown> {
    const done: Promise<unknown> = work()
      .catch((error: unknown) => onError(name, error))
      .finally(() => underWay.delete(done));
    underWay.add(done);
    return done;
  }

  return {
    run(name, work) {
      void run(name, work);
    },

    repeat(name, everyMs, work, { everyProcess = false } = {}) {
      let timer: NodeJS.Timeout | undefined;
      let running = false;
      let wanted = false;
      const wait = () => {
        if (closed || !(leads || everyProcess)) return;
        timer = setTimeout(start, everyMs).unref();
        timers.add(timer);
      };
      const start = async () => {
        if (timer) timers.delete(timer);
        clearTimeout(timer);
        running = true;
        do {
          wanted = false;
          await run(name, work);
        } while (wanted && !closed);
        running = false;
        wait();
      };
      wait();
      return {
        wake() {
          if (closed) return;
          if (running) wanted = true;
          else void start();
        },
      };
    },

    async close() {
      closed = true;
      closing.abort();
      for (const timer of timers) clearTimeout(timer);
      while (underWay.size > 0) await Promise.all(underWay);
    },

    closing: closing.signal,
  };
}

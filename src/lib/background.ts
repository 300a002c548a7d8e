/** Work that no answer waits for, but the end of the process does. */
export type Background = {
  /** Starts `work`; a failure is told to `onError` and to nobody else. */
  run(name: string, work: () => Promise<unknown>): void;
  /**
   * Starts `work` again and again, `everyMs` after it was done the last time and for the first time after `everyMs`.
   * `wake` starts it without waiting; one run never overlaps another.
   */
  repeat(name: string, everyMs: number, work: () => Promise<unknown>): { wake(): void };
  /** Starts nothing more and resolves when all that was started is done. */
  close(): Promise<void>;
};

export function createBackground(onError: (name: string, error: unknown) => void): Background {
  const underWay = new Set<Promise<unknown>>();
  const timers = new Set<NodeJS.Timeout>();
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

    repeat(name, everyMs, work) {
      let timer: NodeJS.Timeout | undefined;
      let running = false;
      let wanted = false;
      const wait = () => {
        if (closed) return;
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
      for (const timer of timers) clearTimeout(timer);
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

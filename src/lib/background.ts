/** Work that no answer waits for, but the end of the process does. */
export type Background = {
  /** Starts `work`; a failure is told to `onError` and to nobody else. */
  run(name: string, work: () => Promise<unknown>): void;
  /** Resolves when all that was started is done. */
  settled(): Promise<void>;
};

export function createBackground(onError: (name: string, error: unknown) => void): Background {
  const underWay = new Set<Promise<unknown>>();
  return {
    run(name, work) {
      const done = work()
        .catch((error: unknown) => onError(name, error))
        .finally(() => underWay.delete(done));
      underWay.add(done);
    },
    async settled() {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

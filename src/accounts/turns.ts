/** Runs `work` when its turn among those with the same `key` has come. */
export type InTurn = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/** Lets `atOnce` pieces of work per key run together; the others wait, first come, first served. */
export function createTurns(atOnce: number): InTurn {
  const lines = new Map<string, { running: number; waiting: (() => void)[] }>();
  return async (key, work) => {
    const line = lines.get(key) ?? { running: 0, waiting: [] };
    lines.set(key, line);
    if (line.running < atOnce) line.running += 1;
    else await new Promise<void>((resolve) => line.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = line.waiting.shift();
      if (next) next();
      else line.running -= 1;
      if (line.running === 0) lines.delete(key);
    }
  };
}

import type { Background } from './background.ts';

type Queue<Item> = {
  /** Names of the looking and of the work, for the log. */
  looking: string;
  working: string;
  /** How often it is looked at without anybody telling: for what other instances left, and for what is to be tried again. */
  everyMs: number;
  /** How many this process works on at most. */
  atOnce: number;
  /** Takes up to `limit` for this process, so that no other one does; `underWay` is what it works on already. */
  take(limit: number, underWay: readonly Item[]): Promise<readonly Item[]>;
  work(item: Item): Promise<unknown>;
};

/** Works off a queue in the database that all instances share. `wake` looks at once: when something was queued and is committed. */
export function workOff<Item>(background: Background, queue: Queue<Item>): { wake(): void } {
  const underWay = new Set<Item>();
  const looks = background.repeat(queue.looking, queue.everyMs, async () => {
    const limit = queue.atOnce - underWay.size;
    if (limit === 0) return;
    for (const item of await queue.take(limit, [...underWay])) {
      underWay.add(item);
      background.run(queue.working, () => queue.work(item).finally(() => leave(item)));
    }
  });
  return looks;

  /** Somebody else may have waited for this place. */
  function leave(item: Item): void {
    underWay.delete(item);
    looks.wake();
  }
}

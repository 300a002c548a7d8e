/** What is read for nearly every request and changes rarely, kept in memory for as long as notices of its changes allow. */
import type { Notices } from './notices.ts';
import type { NoticedTable } from './own-writes.ts';

export type Cached<Value> = {
  /** What `load` answers, or answered for an earlier call. Frozen through and through, as it is many requests' own. */
  get(key: string): Promise<Value | undefined>;
};

type Options<Value> = {
  notices: Notices;
  /** Where it all comes from; a notice names the key, or nothing when anything may have changed. */
  table: NoticedTable;
  load: (key: string) => Promise<Value | undefined>;
  /** The most that are kept: the one that was asked for longest ago goes first. */
  max?: number;
  /** False for what is too large to be kept. */
  worthKeeping?: (value: Value) => boolean;
};

type Entry<Value> = { value: Promise<Value | undefined>; readAt: number; since: number };

/** Should a notice be lost in spite of all, or the trigger that sends it. */
const longestMs = 30_000;
const withoutNoticesMs = 1_000;

/**
 * Requests for the same key share one look-up. A look-up that a change overtook is not kept, nor is a failure, nor that
 * there is nothing: strangers choose what they ask for.
 */
export function createCached<Value>(options: Options<Value>): Cached<Value> {
  const { notices, table, load, max = 1_000, worthKeeping = () => true } = options;
  const entries = new Map<string, Entry<Value>>();
  notices.subscribe(table, (key) => {
    if (key === undefined) entries.clear();
    else entries.delete(key);
  });

  return {
    get(key) {
      const known = entries.get(key);
      if (known) entries.delete(key);
      const entry = known && isGood(known) ? known : look(key);
      entries.set(key, entry);
      if (entries.size > max) entries.delete(entries.keys().next().value as string);
      return entry.value;
    },
  };

  /** By a clock that nobody sets. */
  function isGood({ readAt, since }: Entry<Value>): boolean {
    const age = performance.now() - since;
    return readAt > notices.doubtfulUntil() && age < (notices.arriving() ? longestMs : withoutNoticesMs);
  }

  function look(key: string): Entry<Value> {
    const entry = { value: load(key), readAt: notices.now(), since: performance.now() };
    const forget = () => {
      if (entries.get(key) === entry) entries.delete(key);
    };
    entry.value = entry.value.then((value) => {
      if (value === undefined || !worthKeeping(value)) forget();
      return freeze(value);
    });
    entry.value.catch(forget);
    return entry;
  }
}

function freeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const inner of value instanceof Map ? value.values() : Object.values(value)) freeze(inner);
  return Object.freeze(value);
}

/**
 * What this app remembers, it remembers for a while: entries leave after `lifetime` milliseconds, and the oldest when there
 * are more than `limit`, so that nobody can fill the machine by asking often. In production this is a Redis or a table.
 */
export class ShortMemory<Value> {
  #entries = new Map<string, { value: Value; until: number }>();
  #lifetime: number;
  #limit: number;

  constructor({ lifetime, limit }: { lifetime: number; limit: number }) {
    this.#lifetime = lifetime;
    this.#limit = limit;
  }

  /** From now on for the lifetime. A map is in the order of its entries' making, so the first is always the oldest. */
  set(key: string, value: Value): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, until: Date.now() + this.#lifetime });
    for (const [oldest, { until }] of this.#entries) {
      if (until > Date.now() && this.#entries.size <= this.#limit) break;
      this.#entries.delete(oldest);
    }
  }

  get(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    return entry && entry.until > Date.now() ? entry.value : undefined;
  }

  /** The value, once: whoever asks again gets nothing. */
  take(key: string): Value | undefined {
    const value = this.get(key);
    this.#entries.delete(key);
    return value;
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  entries(): [string, Value][] {
    return [...this.#entries].map(([key, { value }]) => [key, value]);
  }
}

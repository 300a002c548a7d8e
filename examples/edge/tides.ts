/** What the API is about: tides of a harbour with a very regular moon. */

export type Tide = { at: string; kind: 'high' | 'low'; metres: number };

const halfPeriodMs = ((12 * 60 + 25) / 2) * 60_000;

export function tidesAfter(now: Date, count = 4): Tide[] {
  const first = Math.ceil(now.getTime() / halfPeriodMs);
  return Array.from({ length: count }, (_, step) => {
    const high = (first + step) % 2 === 0;
    const at = new Date((first + step) * halfPeriodMs).toISOString();
    return { at, kind: high ? 'high' : 'low', metres: high ? 4.2 : 0.7 };
  });
}

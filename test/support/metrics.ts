/** What Prometheus would have after a scrape. */
import { expect } from 'vitest';

export type Scrape = {
  text: string;
  /** The value of a series, by its name and all of its labels; undefined when there is none. */
  value(name: string, labels?: Record<string, string>): number | undefined;
  /** Every series, without its value. */
  series: string[];
  /** Name and help of each metric. */
  metrics: { name: string; type: string; help: string }[];
};

export async function scrape({ origin }: { origin: string }, headers: Record<string, string> = {}): Promise<Scrape> {
  const response = await fetch(`${origin}/metrics`, { headers });
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return readScrape(text);
}

export function readScrape(text: string): Scrape {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name) values.set(seriesOf(name, labels.match(/\w+="[^"]*"/g) ?? []), Number(value));
  }
  return {
    text,
    value: (name, labels = {}) =>
      values.get(
        seriesOf(
          name,
          Object.entries(labels).map(([key, value]) => `${key}="${value}"`),
        ),
      ),
    series: [...values.keys()],
    metrics: [...text.matchAll(/^# HELP (\w+) (.*)\n# TYPE \w+ (\w+)$/gm)].map(
      ([, name = '', help = '', type = '']) => ({
        name,
        help,
        type,
      }),
    ),
  };
}

const seriesOf = (name: string, labels: readonly string[]) => `${name}{${labels.toSorted().join(',')}}`;

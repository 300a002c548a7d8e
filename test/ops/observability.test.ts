/** What is ready to use about metrics, page, dashboard and rules, speaks of metrics that there are. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { startApp } from '../support/app.ts';
import { readScrape, type Scrape, scrape } from '../support/metrics.ts';
import { discover, registerAccount, registerClient, signInThrough } from '../support/relying-party.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const page = 'docs/observability.md';
const rules = read('deploy/observability/alerts.yml');
const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name);

let live: Scrape;
beforeAll(async () => {
  const app = await startApp();
  await signInThrough(app, await discover(app, await registerClient(app)), await registerAccount(app));
  await scrape(app);
  live = readScrape((await scrape(app)).text);
  await app.close();
});

test(`${page} lists every metric of ours`, async () => {
  const [before, after] = read(page).split(/(?<=<!-- metrics: .* -->\n)[\s\S]*(?=<!-- end of metrics -->)/);
  await expect(`${before}\n${table()}\n${after}`).toMatchFileSnapshot(join(root, page));
});

test.each(['grafana-dashboard.json', 'alerts.yml', 'prometheus.yml'])(
  '%s names metrics and labels that there are',
  (name) => {
    const text = read(`deploy/observability/${name}`).replaceAll('\\"', '"');
    const there = new Set(live.series.map((series) => series.replace(/\{.*/, '')));
    // Garbage may not have been collected yet.
    const named = [...text.matchAll(/\b(?:latchkey|process|nodejs(?!_gc))_\w+/g)].map(([metric]) => metric);
    expect(named.filter((metric) => !there.has(metric))).toEqual([]);
    const selected = [...text.matchAll(/\b(latchkey_\w+)\{([^}]*)\}/g)].flatMap(([, metric = '', selector = '']) =>
      [...selector.matchAll(/(\w+)(?:=~|!=|=|!~)"/g)].map(([, label = '']) => ({ metric, label })),
    );
    const given = ['job', 'instance'];
    expect(selected.filter(({ metric, label }) => !given.includes(label) && !labelsOf(metric).includes(label))).toEqual(
      [],
    );
  },
);

test('the dashboard shows every metric of ours', () => {
  const text = read('deploy/observability/grafana-dashboard.json');
  const ours = live.metrics.filter(({ name }) => name.startsWith('latchkey_'));
  expect(ours.filter(({ name }) => !text.includes(name))).toEqual([]);
});

test('values that the rules name are those of the code', () => {
  const valued = [...rules.matchAll(/(latchkey_\w+)\{[^}]*?(event|queue|state|percentile)=~?"([^"]+)"/g)];
  const named = valued.flatMap(([, metric = '', label = '', values = '']) =>
    values.split('|').map((value) => `${metric}: ${label}="${value}"`),
  );
  const known = live.series.flatMap((series) => {
    const [, metric = '', labels = ''] = /^(\w+)\{(.*)\}$/.exec(series) ?? [];
    return labels.split(',').map((label) => `${metric}: ${label}`);
  });
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((value) => !known.includes(value))).toEqual([]);
});

test('every alert has a summary, and a section that says what to do', () => {
  expect(alerts.length).toBeGreaterThan(10);
  expect(rules.match(/ summary: "/g)).toHaveLength(alerts.length);
  const links = [...rules.matchAll(/runbook: docs\/observability\.md#(\w+)/g)].map(([, anchor]) => anchor);
  expect(links).toEqual(alerts.map((name) => name.toLowerCase()));
  const sections = [...read(page).matchAll(/^### (\w+)$/gm)].map(([, name]) => name);
  expect(sections).toEqual(alerts);
});

function labelsOf(metric: string): string[] {
  const series = live.series.filter((name) => name.startsWith(`${metric}{`));
  return [...new Set(series.flatMap((name) => [...name.matchAll(/(\w+)="/g)].map(([, label = '']) => label)))];
}

/** Aligned, as the formatter of the project would have it. */
function table(): string {
  const rows = live.metrics
    .filter(({ name }) => name.startsWith('latchkey_'))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, help }) => {
      const labels = labelsOf(type === 'histogram' ? `${name}_count` : name);
      return [`\`${name}\``, type, labels.map((label) => `\`${label}\``).join(', '), help];
    });
  const head = ['metric', 'type', 'labels', 'tells'];
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const lines = [head, widths.map((width) => '-'.repeat(width)), ...rows].map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)),
  );
  return lines.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

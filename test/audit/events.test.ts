import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { auditEventMeanings, auditEventNames, outcomeOf } from '../../src/audit/events.ts';

const root = join(import.meta.dirname, '../..');

test('docs/audit.md lists every event with one sentence', async () => {
  const file = join(root, 'docs/audit.md');
  const [before, after] = readFileSync(file, 'utf8').split(
    /(?<=<!-- events: .* -->\n)[\s\S]*(?=<!-- end of events -->)/,
  );
  await expect(`${before}\n${table()}\n${after}`).toMatchFileSnapshot(file);
});

test('events are named noun.past-participle and told in one sentence', () => {
  for (const [name, meaning] of Object.entries(auditEventMeanings)) {
    expect(name).toMatch(/^[a-z-]+\.[a-z-]+$/);
    expect(meaning).toMatch(/^[A-Z].*[^.]\.$/);
  }
});

test('every event of the list is recorded somewhere', () => {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.endsWith(join('audit', 'events.ts')) && !file.endsWith('activity-words.ts'),
  );
  const source = files.map((file) => readFileSync(join(root, 'src', file), 'utf8')).join('\n');
  expect(auditEventNames.filter((name) => !source.includes(`'${name}'`))).toEqual([]);
});

/** Aligned, as the formatter of the project would have it. */
function table(): string {
  const rows = auditEventNames.map((name) => [`\`${name}\``, outcomeOf(name), auditEventMeanings[name]]);
  const head = ['event', 'outcome', 'means'];
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const lines = [head, widths.map((width) => '-'.repeat(width)), ...rows].map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)),
  );
  return lines.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

/** What commands write: tables and fields for people, JSON for scripts, always on stdout; problems are for stderr. */
import { InvalidArgumentError } from 'commander';

/** One value of a row: absent ones are shown as nothing. */
type Cell = string | undefined;

const gap = '  ';
const narrowest = 8;

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** Rows under the names of their columns, in `width` characters: the widest columns give way first. */
export function formatTable(columns: readonly string[], rows: readonly Cell[][], width = terminalWidth()): string {
  const lines = [
    columns.map((name) => name.toUpperCase()),
    ...rows.map((row) => row.map((cell) => printable(cell ?? ''))),
  ];
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => lengthOf(line[column] ?? ''))));
  const total = () => widths.reduce((sum, one) => sum + one + gap.length, -gap.length);
  while (total() > width && Math.max(...widths) > narrowest)
    widths[widths.indexOf(Math.max(...widths))] = Math.max(...widths) - 1;
  return lines
    .map((line) =>
      line
        .map((cell, column) => padded(cell, widths[column] ?? 0))
        .join(gap)
        .trimEnd(),
    )
    .join('\n');
}

/** Names and values, one a line; a value of several lines is indented under its first. Absent values are left out. */
export function formatFields(fields: Record<string, Cell>): string {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== '');
  const indent = Math.max(...given.map(([name]) => name.length)) + gap.length;
  return given
    .map(([name, value]) => {
      const [first = '', ...more] = (value ?? '').split('\n').map(printable);
      return [name.padEnd(indent) + first, ...more.map((line) => ' '.repeat(indent) + line)].join('\n');
    })
    .join('\n');
}

export function formatDate(date: Date): string {
  return date.toISOString().slice(0, 10);
}

/** How times are given in JSON, as in every token. */
export function epochSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}

/** A count from the text of an option. */
export function count(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 10_000) throw new InvalidArgumentError('From 1 to 10000.');
  return number;
}

/** Names come from strangers: no character that a terminal obeys, nor one that turns the direction of writing. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu, '\u{FFFD}');
}

function padded(text: string, width: number): string {
  const characters = [...text];
  return characters.length > width
    ? `${characters.slice(0, width - 1).join('')}…`
    : text + ' '.repeat(width - characters.length);
}

function lengthOf(text: string): number {
  return [...text].length;
}

/** Output that goes into a file or another program is never cut. */
function terminalWidth(): number {
  return process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY;
}

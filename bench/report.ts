/** What was measured, as tables and as a chart; kept in docs/performance.json, .md and docs/images/performance.svg. */
import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { chart } from './chart.ts';
import type { Compared, Ratio } from './compare.ts';
import type { Grants } from './grants.ts';
import type { Logins } from './logins.ts';
import type { Memory } from './memory.ts';
import type { Processes } from './processes.ts';

/** One measurement, or of the kept ones all. */
export type Report = {
  flows?: Compared[];
  grants?: Grants;
  processes?: Processes[];
  logins?: Logins;
  memory?: Memory;
};

const docs = join(import.meta.dirname, '../docs');
const kept = join(docs, 'performance.json');

/** Replaces what was measured now in what is kept, and the tables between the marks of the page. */
export async function writeReport(report: Report): Promise<void> {
  const before = JSON.parse(await readFile(kept, 'utf8').catch(() => '{}')) as Report;
  const all: Report = { ...before, ...report };
  await writeFile(
    kept,
    `${JSON.stringify(all, (_, value) => (typeof value === 'number' ? rounded(value) : value), 2)}\n`,
  );
  if (all.flows) await writeFile(join(docs, 'images/performance.svg'), chart(all.flows));
  const page = await readFile(join(docs, 'performance.md'), 'utf8');
  await writeFile(join(docs, 'performance.md'), withTables(page, all));
}

export function withTables(page: string, report: Report): string {
  return Object.keys(sections).reduce((text, name) => {
    const table = sections[name as keyof Report](report as Required<Report>);
    return text.replace(new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`), (_, open, close) => {
      return report[name as keyof Report] === undefined ? open + close : `${open}${table}\n${close}`;
    });
  }, page);
}

export function describe(report: Report): string {
  const names = Object.keys(report) as (keyof Report)[];
  const { model = 'unknown' } = cpus()[0] ?? {};
  const machine = `Node ${process.version}, ${cpus().length} cores (${model})`;
  return [machine, ...names.map((name) => sections[name](report as Required<Report>))].join('\n\n');
}

const sections: Record<keyof Report, (report: Required<Report>) => string> = {
  flows: ({ flows = [] }) =>
    table(
      ['flow', 'Latchkey', 'library in memory', 'plain adapter', 'to memory', 'to plain', 'p50 ms', 'p99 ms'],
      flows.map((one) => [
        one.title,
        whole(one.latchkey),
        whole(one.memory),
        whole(one.plain),
        spread(one.toMemory),
        spread(one.toPlain),
        one.p50.toFixed(1),
        one.p99.toFixed(1),
      ]),
    ),
  grants: ({ grants }) =>
    table(
      ['flow', `${whole(grants?.few ?? 0)} grants`, `${whole(grants?.many ?? 0)} grants`, 'ratio'],
      (grants?.flows ?? []).map((one) => [one.title, whole(one.few), whole(one.many), spread(one.ratio)]),
    ),
  processes: ({ processes = [] }) =>
    table(
      ['flow', 'one process', 'two', 'ratio'],
      processes.map((one) => [one.title, whole(one.one), whole(one.two), spread(one.ratio)]),
    ),
  logins: ({ logins }) =>
    table(
      ['what', 'figure'],
      logins
        ? [
            [`raw bcrypt, cost ${logins.rounds}, per second`, logins.raw.toFixed(1)],
            ['sign-ins per second', logins.logins.toFixed(1)],
            ['ratio', spread(logins.ratio)],
            ['token p99, quiet, ms', logins.tokenP99.quiet.toFixed(1)],
            ['token p99 during the storm, ms', logins.tokenP99.storm.toFixed(1)],
            ['ratio', spread(logins.tokenP99.ratio)],
          ]
        : [],
    ),
  memory: ({ memory }) =>
    table(
      ['what', 'figure'],
      memory
        ? [
            ['idle, MB resident', String(memory.idle)],
            [`after ${memory.minutes} minutes of load, MB`, String(memory.underLoad.at(-1))],
            ['requests answered meanwhile', whole(memory.requests)],
            ['last quarter to second quarter', memory.growth.toFixed(2)],
          ]
        : [],
    ),
};

const whole = (value: number) => Math.round(value).toLocaleString('en').replaceAll(',', ' ');
const spread = ({ median, least, most }: Ratio) => `${median.toFixed(2)} (${least.toFixed(2)}–${most.toFixed(2)})`;
const rounded = (value: number) => Number(value.toPrecision(4));

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

/**
 * `npm run bench`: measures, prints ratios, and with `--write` puts them into docs/performance. What it starts it ends.
 * It wants a quiet machine with two cores or more: the providers get one, loader and database the other.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startEmbedded } from '../src/db/embedded.ts';
import { compare } from './compare.ts';
import { measureGrants } from './grants.ts';
import { measureLogins } from './logins.ts';
import { measureMemory } from './memory.ts';
import { measureProcesses } from './processes.ts';
import { describe, type Report, writeReport } from './report.ts';
import { main as storage } from './storage.ts';

const usage = `npm run bench -- [what] [options]

  flows      each flow: Latchkey, the bare library in memory, the plainest PostgreSQL adapter (what is done without a word)
  grants     the flows with few and with many stored grants (--grants)
  processes  one and two worker processes
  logins     a storm of sign-ins, beside raw bcrypt, and what the token endpoint feels of it
  memory     of the server, idle and under load (--minutes)
  storage    whether tables level off while a million sign-ins come and go

  --rounds N    how often each is measured (5)       --seconds N   how long each time (2)
  --only FLOW   one flow; repeatable                 --grants N    stored grants (5000000)
  --minutes N   of load (60)                         --write       keep the result in docs/performance
  --database URL  instead of an embedded PostgreSQL that is made for it and deleted`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string', multiple: true, default: [] },
    grants: { type: 'string', default: '5000000' },
    minutes: { type: 'string', default: '60' },
    write: { type: 'boolean', default: false },
    database: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const [what = 'flows'] = positionals;
const kinds = ['flows', 'grants', 'processes', 'logins', 'memory'] as const;
if (what === 'storage') process.exit((await storage([])) ? 0 : 1);
if (values.help || !kinds.includes(what as never)) {
  process.stdout.write(`${usage}\n`);
  process.exit(values.help ? 0 : 2);
}

const progress = (text: string) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`);
  else process.stderr.write(`${text}\n`);
};
// Where several processes or threads are the point, they get all cores.
const serverCpus = what === 'logins' || what === 'processes' ? undefined : pinLoader();
const dataDir = await mkdtemp(join(tmpdir(), 'latchkey-bench-'));
const log = { info: () => {}, warn: (message: string) => process.stderr.write(`${message}\n`) };
const embedded = values.database
  ? undefined
  : await startEmbedded({ dataDir, log, settings: { max_connections: '200' } });
try {
  const databaseUrl = values.database ?? (embedded?.url as string);
  const common = {
    databaseUrl,
    serverCpus,
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    only: values.only,
    progress,
  };
  const measurements: Record<(typeof kinds)[number], () => Promise<Report>> = {
    flows: async () => ({ flows: await compare(common) }),
    grants: async () => ({ grants: await measureGrants({ ...common, grants: Number(values.grants) }) }),
    processes: async () => ({ processes: await measureProcesses(common) }),
    logins: async () => ({ logins: await measureLogins(common) }),
    memory: async () => ({ memory: await measureMemory({ ...common, minutes: Number(values.minutes) }) }),
  };
  const result = await measurements[what as (typeof kinds)[number]]();
  progress('');
  process.stdout.write(`\n${describe(result)}\n`);
  if (values.write) await writeReport(result);
} finally {
  await embedded?.stop();
  await rm(dataDir, { recursive: true, force: true });
}

/** Keeps loader and database to one core and answers the others, for the providers; undefined where that cannot be done. */
function pinLoader(): string | undefined {
  if (availableParallelism() < 2) return undefined;
  try {
    execFileSync('taskset', ['-cp', '0', String(process.pid)], { stdio: 'ignore' });
    return '1';
  } catch {
    return undefined;
  }
}

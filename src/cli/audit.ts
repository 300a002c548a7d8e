import { once } from 'node:events';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { findAccountByEmail } from '../accounts/accounts.ts';
import { chainEvents, restartChain } from '../audit/chain.ts';
import { auditEventNames, type Outcome } from '../audit/events.ts';
import { type ExportedEvent, exportEvents, findEvents, type Search } from '../audit/search.ts';
import { type Break, type Place, type Verification, verifyChain } from '../audit/verify.ts';
import type { Database } from '../db/database.ts';
import { loadAuditKey } from '../keys/audit-key.ts';
import { createEncryption } from '../keys/encryption.ts';
import { confirm } from './confirm.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { count, epochSeconds, formatTable, print, printJson } from './output.ts';

export function addAudit(program: Command): void {
  const audit = program.command('audit').description('the log of who did what, when and from where');

  searching(audit.command('list').description('list events, the newest first'))
    .option('--limit <number>', 'how many at most', count, 50)
    .option('--json', 'print an array of events')
    .addHelpText(
      'after',
      `
Examples:
  npm run latchkey -- audit list --account ada@example.com --since 7d
  npm run latchkey -- audit list --event login --outcome failure --json`,
    )
    .action(showEvents);

  searching(audit.command('export').description('print events as JSON lines, in the order of the chain'))
    .option('--json', 'as it does anyway')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- audit export --since 2027-03-01 > audit.jsonl')
    .action(exportLines);

  audit
    .command('verify')
    .description('check that no event was changed, removed or added behind the server’s back; exit status 1 if so')
    .option('--expect <position:hash>', 'a place that an earlier verify printed, and that was kept elsewhere', place)
    .option('--json', 'print {"intact", "checked", "waiting", "uncovered", "begin", "head", "broken"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- audit verify')
    .action(verify);

  audit
    .command('restart')
    .description('begin a new chain behind the last event, after a broken one was looked into')
    .option('--yes', 'do not ask')
    .option('--json', 'print {"begin"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- audit restart --yes')
    .action(restart);
}

type SearchOptions = {
  account?: string;
  client?: string;
  event?: string;
  since?: Date;
  until?: Date;
  outcome?: Outcome;
};

function searching(command: Command): Command {
  return command
    .option('--account <who>', 'of this account: e-mail address, or sub, also of one that is gone')
    .option('--client <client_id>', 'of this client')
    .option('--event <name>', 'like login.failed, or login for all of that kind', eventName)
    .addOption(new Option('--outcome <outcome>', 'of this outcome').choices(['success', 'failure']))
    .option('--since <when>', 'from then on: 2027-03-01, 2027-03-01T08:00Z, or 36h or 7d ago', instant)
    .option('--until <when>', 'before then', instant);
}

async function searchOf(db: Database, { account, client, ...rest }: SearchOptions): Promise<Search> {
  const { event, since, until, outcome } = rest;
  return { event, since, until, outcome, clientId: client, accountId: account && (await subOf(db, account)) };
}

async function subOf(db: Database, who: string): Promise<string> {
  if (!who.includes('@')) return who;
  const account = await findAccountByEmail(db, who);
  if (!account) throw new Error(`There is no account ${who}. Events of one that is gone are found by its sub.`);
  return account.id;
}

async function showEvents({ limit, json, ...options }: SearchOptions & { limit: number; json?: true }): Promise<void> {
  const events = await withDatabase(async (db) => findEvents(db, await searchOf(db, options), limit));
  if (json) return printJson(events);
  if (events.length === 0) return print('No such events.');
  const rows = events.map((event) => [
    event.at.slice(0, 19).replace('T', ' '),
    event.event,
    event.account_id ?? '',
    event.client_id ?? '',
    event.address ?? '',
    inWords(event.details),
  ]);
  print(formatTable(['time (UTC)', 'event', 'account', 'client', 'from', ''], rows));
  if (events.length === limit) print('\nThere may be more: --limit, --until.');
}

/** `amr: pwd, otp; sessions: 2` */
function inWords(details: Record<string, unknown>): string {
  const one = (value: unknown) => (value !== null && typeof value === 'object' ? JSON.stringify(value) : String(value));
  return Object.entries(details)
    .map(
      ([name, value]) =>
        `${name.replaceAll('_', ' ')}: ${Array.isArray(value) ? value.map(one).join(', ') : one(value)}`,
    )
    .join('; ');
}

async function exportLines(options: SearchOptions): Promise<void> {
  let wanted = true;
  // Whoever reads may have had enough, as `head` has.
  process.stdout.once('error', () => {
    wanted = false;
  });
  await withAuditKey(async (db, key) => {
    // What came in the last seconds gets its place first; a broken chain is no reason to keep the events back.
    await chainEvents(db, key).catch(() => {});
    for await (const event of exportEvents(db, await searchOf(db, options))) {
      if (!wanted) return;
      await printLine(event);
    }
  });
}

/** Waits for whoever reads, so that a long log never piles up in memory. */
async function printLine(event: ExportedEvent): Promise<void> {
  if (!process.stdout.write(`${JSON.stringify(event)}\n`)) await once(process.stdout, 'drain').catch(() => {});
}

async function verify({ expect, json }: { expect?: Place; json?: true }): Promise<void> {
  const result = await withAuditKey((db, key) => verifyChain(db, key, expect));
  const { checked, waiting, head, broken } = result;
  if (json) {
    const since = waiting.since && { since: epochSeconds(waiting.since) };
    const { begin, uncovered } = result;
    const intact = broken === undefined;
    printJson({ intact, checked, waiting: { count: waiting.count, ...since }, uncovered, begin, head, broken });
  } else {
    print(broken ? `Up to the break ${checked} events are as they were written.` : sayIntact(result, expect));
    if (result.uncovered > 0) print(`${result.uncovered} older events are from before a restart, and not checked.`);
    if (waiting.count > 0) print(`${waiting.count} events wait to be chained, since ${waiting.since?.toISOString()}.`);
    if (head) print(`The chain ends at ${head.position}:${head.hash}`);
  }
  if (broken) throw new Error(sayBroken(broken));
}

function sayIntact({ checked, begin }: Verification, expect: Place | undefined): string {
  const unjudged = expect && expect.position < begin ? ` ${expect.position} is too old to be compared.` : '';
  const removed = begin > 0 ? ` Up to ${begin} they were removed, or are from before a restart.` : '';
  return `${checked} events are as they were written.${removed}${unjudged}`;
}

function sayBroken({ reason, position }: Break): string {
  switch (reason) {
    case 'end-missing':
      return 'The audit log was tampered with: the end of the chain is gone.';
    case 'end-changed':
      return 'The audit log was tampered with: its end does not carry the seal of this server; all of it may be forged.';
    case 'event-missing':
      return `The audit log was tampered with: event ${position} of the chain is gone.`;
    case 'event-changed':
      return `The audit log was tampered with: event ${position} of the chain, or the hash of the one before, was changed.`;
    case 'event-added':
      return `The audit log was tampered with: event ${position} was added behind the end of the chain.`;
    case 'not-as-expected':
      return `The audit log was tampered with: at ${position} it is not what was expected.`;
  }
}

async function restart({ yes, json }: { yes?: true; json?: true }): Promise<void> {
  const chain = await withAuditKey(async (db, key) => {
    if (!yes && !(await confirm('Begin a new chain? What is before it is kept, and not checked any more.'))) {
      throw new Error('Nothing was changed.');
    }
    return restartChain(db, key, operator());
  });
  if (json) return printJson({ begin: chain.anchorPosition });
  print(`A new chain begins behind ${chain.anchorPosition}.`);
}

function withAuditKey<T>(work: (db: Database, key: string) => Promise<T>): Promise<T> {
  return withDatabase(async (db, config) => work(db, await loadAuditKey(db, createEncryption(config.encryptionKeys))));
}

function eventName(text: string): string {
  if (auditEventNames.some((name) => name === text || name.startsWith(`${text}.`))) return text;
  const kinds = [...new Set(auditEventNames.map((name) => name.split('.')[0]))];
  throw new InvalidArgumentError(`A name from docs/audit.md, or one of: ${kinds.join(', ')}.`);
}

const unitMs: Record<string, number> = { h: 60 * 60 * 1000, d: 24 * 60 * 60 * 1000 };

function instant(text: string): Date {
  const [, number, unit = ''] = /^(\d{1,5})([hd])$/.exec(text) ?? [];
  if (number) return new Date(Date.now() - Number(number) * (unitMs[unit] ?? 0));
  const date = new Date(text);
  if (!/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text) || Number.isNaN(date.getTime())) {
    throw new InvalidArgumentError('Like 2027-03-01, 2027-03-01T08:00Z, 36h or 7d.');
  }
  return date;
}

function place(text: string): Place {
  const [, position, hash = ''] = /^(\d{1,15}):([\w-]{43})$/.exec(text) ?? [];
  if (!position) throw new InvalidArgumentError('A place as `audit verify` prints it: position:hash.');
  return { position: Number(position), hash };
}

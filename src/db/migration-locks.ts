/** Which lock each statement of a migration takes (PostgreSQL, "Explicit Locking"), read from its words. Nothing is run for it. */

export type Lock =
  | 'ACCESS EXCLUSIVE'
  | 'SHARE ROW EXCLUSIVE'
  | 'SHARE'
  | 'SHARE UPDATE EXCLUSIVE'
  | 'ROW EXCLUSIVE'
  | 'none';

export type Blocks = 'reads and writes' | 'writes' | 'nothing';

/** What has to be done with the rows that there are: to read each (`scan`), or to write each anew (`rewrite`). */
export type Work = 'none' | 'scan' | 'rewrite';

export type StatementLocks = {
  /** Undefined when the statement is of a kind that is not known here: somebody has to read it. */
  locks: readonly { table: string; lock: Lock }[] | undefined;
  work: Work;
  /** The table that the statement makes; locks on it hurt nobody. */
  creates?: string;
};

/** What other sessions wait for meanwhile. */
export function blocks(lock: Lock): Blocks {
  if (lock === 'ACCESS EXCLUSIVE') return 'reads and writes';
  return lock === 'SHARE ROW EXCLUSIVE' || lock === 'SHARE' ? 'writes' : 'nothing';
}

type Rule = { words: RegExp; lock: Lock; work?: Work };

/** The first that fits counts. The first group of each is the table. */
const name = String.raw`(?:only )?(?:if exists )?(?:"?public"?\.)?"?(\w+)"?`;
const alter = `^alter table ${name} `;
const rules: readonly Rule[] = [
  { words: /^create (?:or replace )?(?:function|type|schema|sequence|extension)\b/i, lock: 'none' },
  { words: /^drop (?:function|type)\b/i, lock: 'none' },
  {
    words: rule(`^create (?:unique )?index concurrently .*? on ${name}`),
    lock: 'SHARE UPDATE EXCLUSIVE',
    work: 'scan',
  },
  { words: rule(`^create (?:unique )?index .*? on ${name}`), lock: 'SHARE', work: 'scan' },
  { words: rule(`^create (?:or replace )?(?:constraint )?trigger .*? on ${name}`), lock: 'SHARE ROW EXCLUSIVE' },
  { words: rule(`^drop trigger .*? on ${name}`), lock: 'ACCESS EXCLUSIVE' },
  { words: rule(`^drop table ${name}`), lock: 'ACCESS EXCLUSIVE' },
  { words: rule(`${alter}set \\(`), lock: 'SHARE UPDATE EXCLUSIVE' },
  { words: rule(`${alter}validate constraint`), lock: 'SHARE UPDATE EXCLUSIVE', work: 'scan' },
  { words: rule(`${alter}add constraint .*foreign key.* not valid`), lock: 'SHARE ROW EXCLUSIVE' },
  { words: rule(`${alter}add constraint .*foreign key`), lock: 'SHARE ROW EXCLUSIVE', work: 'scan' },
  { words: rule(`${alter}add constraint .* not valid`), lock: 'ACCESS EXCLUSIVE' },
  { words: rule(`${alter}add constraint`), lock: 'ACCESS EXCLUSIVE', work: 'scan' },
  { words: rule(`${alter}alter column \\S+ set not null`), lock: 'ACCESS EXCLUSIVE', work: 'scan' },
  { words: rule(`${alter}alter column \\S+ (?:set data )?type`), lock: 'ACCESS EXCLUSIVE', work: 'rewrite' },
  // A constant default, and one that is the same for the whole statement, is kept once and written into no row.
  {
    words: rule(`${alter}add column .*(?:random|uuid|clock_timestamp|nextval|serial|generated)`),
    lock: 'ACCESS EXCLUSIVE',
    work: 'rewrite',
  },
  { words: rule(alter), lock: 'ACCESS EXCLUSIVE' },
  { words: rule(`^(?:update|delete from|insert into) ${name}`), lock: 'ROW EXCLUSIVE', work: 'scan' },
];

function rule(words: string): RegExp {
  return new RegExp(words, 'i');
}

export function locksOf(statement: string): StatementLocks {
  const words = statement.replace(/--.*$/gm, '').replace(/\s+/g, ' ').trim();
  const created = rule(`^create table (?:if not exists )?${name}`).exec(words)?.[1];
  if (created) return { locks: referenced(words), work: 'none', creates: created };
  const fitting = rules.find((each) => each.words.test(words));
  if (!fitting) return { locks: undefined, work: 'none' };
  const { lock, work = 'none' } = fitting;
  const table = fitting.words.exec(words)?.[1];
  return { locks: [...(table && lock !== 'none' ? [{ table, lock }] : []), ...referenced(words)], work };
}

/** A foreign key puts triggers on the table that it leads to. */
function referenced(words: string): { table: string; lock: Lock }[] {
  const tables = [...words.matchAll(new RegExp(String.raw`\breferences ${name}`, 'gi'))].map((match) => match[1] ?? '');
  return tables.map((table) => ({ table, lock: 'SHARE ROW EXCLUSIVE' as const }));
}

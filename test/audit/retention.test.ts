/** Old events leave the audit log by policy, and what stays still verifies. */
import { sql } from 'drizzle-orm';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { chainEvents } from '../../src/audit/chain.ts';
import { removeOldEvents } from '../../src/audit/retention.ts';
import { verifyChain } from '../../src/audit/verify.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { key, places, tampering, write, writeChained } from './log.ts';

let log: OpenTestDatabase;
beforeEach(async () => {
  log = await openTestDatabase();
});
afterEach(() => log.close());

const days = (number: number) => new Date(Date.now() + number * 24 * 60 * 60 * 1000);

/** Events that were written so long ago. */
async function writeOld(many: number, daysAgo: number): Promise<void> {
  await log.db.execute(sql`
    insert into audit_events (event, at)
    select 'key.created', now() - make_interval(days => ${daysAgo}) from generate_series(1, ${many})`);
  await chainEvents(log.db, key);
}

test('what is older goes, the rest verifies, and the log says what went', async () => {
  await writeOld(3, 30);
  await writeOld(2, 8);
  await writeChained(log.db, 4);
  const before = await verifyChain(log.db, key);
  expect(await removeOldEvents(log.db, key, 7)).toBe(5);
  await chainEvents(log.db, key);
  expect(await verifyChain(log.db, key, before.head)).toMatchObject({
    begin: 5,
    checked: 5,
    uncovered: 0,
    broken: undefined,
  });
  const { rows } = await log.db.execute(sql`select outcome, details from audit_events where event like 'audit-log.%'`);
  expect(rows).toEqual([
    { outcome: 'success', details: { removed: 5, to_position: 5, before: expect.stringMatching(/^\d{4}-.*Z$/) } },
  ]);
  expect(await removeOldEvents(log.db, key, 7)).toBe(0);
});

test('all may go, and the chain goes on behind them', async () => {
  await writeChained(log.db, 3);
  expect(await removeOldEvents(log.db, key, 7, days(8))).toBe(3);
  await writeChained(log.db, 2);
  expect(await verifyChain(log.db, key)).toMatchObject({ begin: 3, checked: 3, broken: undefined });
});

test('an old event behind a young one stays until that goes; so does one that has no place yet', async () => {
  await writeOld(1, 30);
  await writeChained(log.db, 1);
  await writeOld(1, 30);
  await log.db.execute(sql`insert into audit_events (event, at) values ('key.created', now() - interval '30 days')`);
  expect(await removeOldEvents(log.db, key, 7)).toBe(1);
  expect((await places(log.db)).map(({ position }) => position)).toEqual([2, 3, null, null]);
});

test('two instances at once remove each event once', async () => {
  await writeOld(20, 30);
  const removed = await Promise.all(Array.from({ length: 4 }, () => removeOldEvents(log.db, key, 7)));
  expect(removed.reduce((sum, one) => sum + one, 0)).toBe(20);
  await chainEvents(log.db, key);
  expect(await verifyChain(log.db, key)).toMatchObject({ begin: 20, checked: 1, broken: undefined });
});

test('where the chain begins is under the seal: nobody takes events from the beginning unseen', async () => {
  await writeChained(log.db, 5);
  const broken = await tampering(log.db, async (tx) => {
    await tx.execute(sql`update audit_chain set anchor_position = 2,
      anchor_hash = (select hash from audit_events where position = 2)`);
    await tx.execute(sql`delete from audit_events where position <= 2`);
    return (await verifyChain(tx, key)).broken;
  });
  expect(broken).toEqual({ reason: 'end-changed' });
});

test('nothing goes while the end is not ours', async () => {
  await writeOld(3, 30);
  await log.db.execute(sql`update audit_chain set seal = 'forged'`);
  await expect(removeOldEvents(log.db, key, 7)).rejects.toThrow('changed from outside');
  await write(log.db, 1);
  expect(await places(log.db)).toHaveLength(4);
});

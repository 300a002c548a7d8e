/** The audit log is a chain: whoever changes it behind the server's back shows. */
import { type SQL, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { AuditChainError, chainEvents, readChain, restartChain } from '../../src/audit/chain.ts';
import { record } from '../../src/audit/record.ts';
import { verifyChain } from '../../src/audit/verify.ts';
import { type Database, openDatabase } from '../../src/db/database.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { key, places, tampering, write, writeChained } from './log.ts';

async function newLog(): Promise<OpenTestDatabase> {
  const log = await openTestDatabase();
  onTestFinished(() => log.close());
  return log;
}

describe('taking in', () => {
  test('each event gets the next place, in the order of writing; again there is nothing to do', async () => {
    const { db } = await newLog();
    await write(db, 3);
    expect(await verifyChain(db, key)).toMatchObject({ checked: 0, waiting: { count: 3 }, head: undefined });
    expect([await chainEvents(db, key), await chainEvents(db, key)]).toEqual([3, 0]);
    await write(db, 2);
    expect(await chainEvents(db, key)).toBe(2);
    expect((await places(db)).map(({ position }) => position)).toEqual([1, 2, 3, 4, 5]);
    expect(await verifyChain(db, key)).toMatchObject({ checked: 5, waiting: { count: 0 }, broken: undefined });
  });

  test('more than fit in one go', async () => {
    const { db } = await newLog();
    await db.execute(sql`insert into audit_events (event) select 'key.created' from generate_series(1, 2300)`);
    expect(await chainEvents(db, key)).toBe(2300);
    expect(await verifyChain(db, key)).toMatchObject({ checked: 2300, broken: undefined });
  });

  test('an event that is committed late takes a later place than one with a higher id', async () => {
    const { db } = await newLog();
    let chained: number | undefined;
    await db.transaction(async (tx) => {
      await write(tx, 1, { late: true });
      await write(db, 1);
      chained = await chainEvents(db, key);
    });
    expect(chained).toBe(1);
    expect(await chainEvents(db, key)).toBe(1);
    expect((await places(db)).map(({ position }) => position)).toEqual([2, 1]);
    expect(await verifyChain(db, key)).toMatchObject({ checked: 2, broken: undefined });
  });

  test('a transaction that comes to nothing leaves no event and no gap', async () => {
    const { db } = await newLog();
    await write(db, 1);
    await db
      .transaction(async (tx) => {
        await write(tx, 2);
        throw new Error('undone');
      })
      .catch(() => {});
    await writeChained(db, 1);
    expect((await places(db)).map(({ position }) => position)).toEqual([1, 2]);
  });

  test('eight writers at once and two instances that take in: every event once, without a gap', async () => {
    const log = await newLog();
    const other = openDatabase(log.url);
    onTestFinished(() => other.close());
    let writing = true;
    const takeIn = async (db: Database) => {
      while (writing) await chainEvents(db, key);
    };
    const takers = [takeIn(log.db), takeIn(other.db)];
    await Promise.all(
      Array.from({ length: 8 }, (_, writer) =>
        Promise.all(
          [log.db, other.db].map(async (db) => {
            for (let round = 0; round < 5; round += 1) {
              await db.transaction(async (tx) => write(tx, 3, { writer, round }));
            }
          }),
        ),
      ),
    );
    writing = false;
    await Promise.all(takers);
    await chainEvents(log.db, key);
    const positions = (await places(log.db)).map(({ position }) => Number(position));
    expect(positions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 240 }, (_, index) => index + 1));
    expect(await verifyChain(log.db, key)).toMatchObject({ checked: 240, waiting: { count: 0 }, broken: undefined });
  });

  test('whatever details hold comes through unchanged', async () => {
    const { db } = await newLog();
    const details = { ü: 'é\u2028"\\', ' ': null, a: [1.5, -0.001, 1e21, { z: true, b: [] }], '': {}, n: 12345678901 };
    await record(db, { event: 'key.created', source: { userAgent: 'Ünïcode/1', address: '::1' }, details });
    await chainEvents(db, key);
    expect(await verifyChain(db, key)).toMatchObject({ checked: 1, broken: undefined });
    // Whatever a session of PostgreSQL is set to.
    const shown = await db.transaction(async (tx) => {
      await tx.execute(sql`set local timezone = 'Asia/Kathmandu'`);
      await tx.execute(sql`set local datestyle = 'German'`);
      return verifyChain(tx, key);
    });
    expect(shown.broken).toBeUndefined();
  });
});

describe('tampering', () => {
  let log: OpenTestDatabase;
  let early: { position: number; hash: string };

  beforeAll(async () => {
    log = await openTestDatabase();
    await writeChained(log.db, 4);
    const chain = await readChain(log.db);
    early = { position: chain?.headPosition ?? 0, hash: chain?.headHash ?? '' };
    await writeChained(log.db, 6);
  });
  afterAll(() => log.close());

  const after = (...statements: SQL[]) =>
    tampering(log.db, async (tx) => {
      for (const statement of statements) await tx.execute(statement);
      return (await verifyChain(tx, key, early)).broken;
    });

  test.each<[string, SQL]>([
    ['who', sql`update audit_events set account_id = 'u_other' where position = 5`],
    ['what', sql`update audit_events set event = 'key.removed' where position = 5`],
    ['when, by a millionth of a second', sql`update audit_events set at = at + interval '1 us' where position = 5`],
    ['the details', sql`update audit_events set details = details || '{"number": 99}' where position = 5`],
    ['the outcome', sql`update audit_events set outcome = 'failure' where position = 5`],
    ['from where', sql`update audit_events set address = '' where position = 5`],
    ['its hash', sql`update audit_events set hash = ${'x'.repeat(43)} where position = 5`],
  ])('an event was changed: %s', async (_, statement) => {
    expect(await after(statement)).toEqual({ reason: 'event-changed', position: 5 });
  });

  test('an event is gone: first, in between, last', async () => {
    for (const position of [1, 5, 10]) {
      expect(await after(sql`delete from audit_events where position = ${position}`)).toEqual({
        reason: 'event-missing',
        position,
      });
    }
  });

  test('a gap was closed by moving what is behind it', async () => {
    const moved = [
      sql`delete from audit_events where position = 5`,
      sql`update audit_events set position = -position where position > 5`,
      sql`update audit_events set position = -position - 1 where position < 0`,
    ];
    expect(await after(...moved)).toEqual({ reason: 'event-changed', position: 5 });
  });

  test('two events changed places', async () => {
    const swapped = [
      sql`update audit_events set position = 0 where position = 3`,
      sql`update audit_events set position = 3 where position = 4`,
      sql`update audit_events set position = 4 where position = 0`,
    ];
    expect(await after(...swapped)).toEqual({ reason: 'event-changed', position: 3 });
  });

  test('an event was added behind the end', async () => {
    const added = sql`insert into audit_events (event, position, hash) values ('key.created', 11, ${'x'.repeat(43)})`;
    expect(await after(added)).toEqual({ reason: 'event-added', position: 11 });
  });

  test('all links were made anew without the secret', async () => {
    const broken = await tampering(log.db, async (tx) => {
      await tx.execute(sql`update audit_events set position = null, hash = null`);
      await tx.execute(sql`delete from audit_events where id in (select id from audit_events order by id limit 1)`);
      await tx.execute(sql`delete from audit_chain`);
      await chainEvents(tx, 'a secret of the attacker');
      return (await verifyChain(tx, key)).broken;
    });
    expect(broken).toEqual({ reason: 'end-changed' });
  });

  test('the end was moved, with the last events gone', async () => {
    const moved = [
      sql`delete from audit_events where position > 8`,
      sql`update audit_chain set head_position = 8, head_hash = (select hash from audit_events where position = 8)`,
    ];
    expect(await after(...moved)).toEqual({ reason: 'end-changed' });
  });

  test('the end is gone', async () => {
    expect(await after(sql`delete from audit_chain`)).toEqual({ reason: 'end-missing' });
  });

  test('an older end was put back: only a place kept elsewhere shows it', async () => {
    const { db } = await newLog();
    await writeChained(db, 2);
    const [older] = (await db.execute<{ sealed: string }>(sql`select to_jsonb(c)::text as sealed from audit_chain c`))
      .rows;
    await writeChained(db, 2);
    const { head } = await verifyChain(db, key);
    const put = await tampering(db, async (tx) => {
      await tx.execute(sql`delete from audit_events where position > 2`);
      await tx.execute(sql`delete from audit_chain`);
      await tx.execute(
        sql`insert into audit_chain select * from jsonb_populate_record(null::audit_chain, ${older?.sealed}::jsonb)`,
      );
      return [await verifyChain(tx, key), await verifyChain(tx, key, head)];
    });
    expect(put.map(({ broken }) => broken)).toEqual([undefined, { reason: 'not-as-expected', position: 2 }]);
  });

  test('a place that is not the one kept elsewhere shows', async () => {
    const other = { position: early.position, hash: 'x'.repeat(43) };
    expect((await verifyChain(log.db, key, other)).broken).toEqual({ reason: 'not-as-expected', position: 4 });
    expect((await verifyChain(log.db, key, early)).broken).toBeUndefined();
  });

  test('behind an end that was tampered with nothing is taken in until an operator begins a new chain', async () => {
    const { db } = await newLog();
    await writeChained(db, 3);
    await db.execute(sql`update audit_chain set head_hash = 'forged'`);
    await write(db, 2);
    await expect(chainEvents(db, key)).rejects.toThrow(AuditChainError);
    expect(await verifyChain(db, key)).toMatchObject({ waiting: { count: 2 }, broken: { reason: 'end-changed' } });

    await restartChain(db, key, { operator: 'ada' });
    expect(await chainEvents(db, key)).toBe(3);
    expect(await verifyChain(db, key)).toMatchObject({ begin: 3, checked: 3, uncovered: 3, broken: undefined });
    const { rows } = await db.execute(sql`select details from audit_events where event = 'audit-log.restarted'`);
    expect(rows).toEqual([{ details: { position: 3, by: 'cli', user: 'ada' } }]);
  });

  test('where the end is gone nothing is taken in either', async () => {
    const { db } = await newLog();
    await writeChained(db, 3);
    await db.execute(sql`delete from audit_chain`);
    await write(db, 1);
    await expect(chainEvents(db, key)).rejects.toThrow('gone');
  });
});

describe('the database itself refuses', () => {
  let log: OpenTestDatabase;
  beforeAll(async () => {
    log = await openTestDatabase();
    await writeChained(log.db, 2);
    await write(log.db, 1);
  });
  afterAll(() => log.close());

  const as = (job: string, statement: SQL) =>
    log.db.transaction(async (tx) => {
      await tx.execute(sql`select set_config('latchkey.audit', ${job}, true)`);
      await tx.execute(statement);
    });
  const refused = { cause: { code: '42501', message: expect.stringContaining('never changed or removed') } };

  test.each(['', 'chain', 'retention', 'other'])('whatever a transaction says it is (%j)', async (job) => {
    await expect(as(job, sql`truncate audit_events`)).rejects.toMatchObject(refused);
    await expect(as(job, sql`update audit_events set details = '{}'`)).rejects.toMatchObject(refused);
    await expect(as(job, sql`update audit_events set hash = 'other' where position = 1`)).rejects.toMatchObject(
      refused,
    );
    await expect(
      as(job, sql`update audit_events set position = 3, hash = 'a', event = 'key.removed' where position is null`),
    ).rejects.toMatchObject(refused);
    if (job !== 'retention') await expect(as(job, sql`delete from audit_events`)).rejects.toMatchObject(refused);
    if (job !== 'chain') {
      const place = sql`update audit_events set position = 3, hash = 'a' where position is null`;
      await expect(as(job, place)).rejects.toMatchObject(refused);
    }
  });

  test('what a job says holds for its transaction alone', async () => {
    await as('retention', sql`select 1`);
    await expect(log.db.execute(sql`delete from audit_events`)).rejects.toMatchObject(refused);
    expect(await verifyChain(log.db, key)).toMatchObject({ checked: 2, waiting: { count: 1 }, broken: undefined });
  });
});

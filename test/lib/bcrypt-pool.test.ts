import { randomFill } from 'node:crypto';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { type BcryptPool, BusyError, createBcryptPool } from '../../src/lib/bcrypt-pool.ts';

const open: BcryptPool[] = [];

function pool(options: Parameters<typeof createBcryptPool>[0]): BcryptPool {
  const created = createBcryptPool(options);
  open.push(created);
  return created;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

test('a hash carries the configured rounds and compares only with its own text', async () => {
  const bcrypt = pool({ rounds: 4 });
  const hash = await bcrypt.hash('correct horse');
  expect(hash).toMatch(/^\$2b\$04\$.{53}$/);
  expect(await bcrypt.compare('correct horse', hash)).toBe(true);
  expect(await bcrypt.compare('correct house', hash)).toBe(false);
  expect(await bcrypt.compare('correct horse', 'no hash at all')).toBe(false);
});

test('a storm of hashes leaves the event loop and the libuv pool free', async () => {
  const bcrypt = pool({ rounds: 12, threads: 1 });
  await bcrypt.compare('x', 'warms the thread up');
  let finished = 0;
  const storm = Array.from({ length: 8 }, () => bcrypt.hash('storm').then(() => (finished += 1)));
  // On the event loop no turn would pass before a hash is done; on libuv's four threads no other work would be.
  for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);
  await Promise.all(Array.from({ length: 8 }, () => promisify(randomFill)(Buffer.alloc(64))));
  expect(finished).toBe(0);
  await Promise.all(storm);
  expect(finished).toBe(8);
});

test('the queue is bounded: what comes on top is refused, what waits is done', async () => {
  const bcrypt = pool({ rounds: 4, threads: 1, maxWaiting: 3 });
  const results = await Promise.allSettled(Array.from({ length: 6 }, () => bcrypt.hash('queued')));
  expect(results.map((result) => result.status)).toEqual([
    'fulfilled',
    'fulfilled',
    'fulfilled',
    'fulfilled',
    'rejected',
    'rejected',
  ]);
  expect(results[5]).toMatchObject({ reason: expect.any(BusyError) });
  await expect(bcrypt.hash('room again')).resolves.toMatch(/^\$2b\$/);
});

test('a full lane does not hold up another', async () => {
  const bcrypt = pool({ rounds: 8, threads: 1, maxWaiting: 20 });
  const order: string[] = [];
  const people = Array.from({ length: 20 }, () =>
    bcrypt
      .lane('people')
      .hash('x')
      .then(() => order.push('person')),
  );
  const client = bcrypt
    .lane('clients')
    .hash('x')
    .then(() => order.push('client'));
  await Promise.all([...people, client]);
  expect(order.indexOf('client')).toBeLessThanOrEqual(2);
});

test('closing refuses what waits and lets what runs finish', async () => {
  const bcrypt = createBcryptPool({ rounds: 10, threads: 1 });
  await bcrypt.compare('x', 'warms the thread up');
  const running = bcrypt.hash('running');
  const waiting = bcrypt.hash('waiting');
  const refused = expect(waiting).rejects.toThrow(BusyError);
  await bcrypt.close();
  await refused;
  await expect(running).resolves.toMatch(/^\$2b\$10\$/);
  await expect(bcrypt.hash('late')).rejects.toThrow(BusyError);
});

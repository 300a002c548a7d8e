import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { playgroundRuns, throttles } from '../../src/db/schema.ts';
import { retentions } from '../../src/ops/retention.ts';
import { testSecrets } from '../support/app.ts';
import { runCommandLine } from '../support/command-line.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

let database: OpenTestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
  const past = new Date('2026-01-01');
  await database.db
    .insert(throttles)
    .values(Array.from({ length: 1_500 }, (_, index) => ({ key: `${index}`, hits: 1, windowEndsAt: past })));
  await database.db.insert(playgroundRuns).values([
    { idHash: 'over', payloadEncrypted: 'sealed', expiresAt: past },
    { idHash: 'young', payloadEncrypted: 'sealed', expiresAt: new Date() },
  ]);
});
afterAll(() => database.close());

const run = (...words: string[]) =>
  runCommandLine({ env: { DATABASE_URL: database.url, ...testSecrets }, folder: tmpdir() }, ['sweep', ...words]);
const some = (stdout: string) => JSON.parse(stdout).filter(({ rows }: { rows: number }) => rows > 0);
const over = [
  { table: 'throttles', what: 'counters of requests and of wrong tries, once over', rows: 1_500 },
  { table: 'playground_runs', what: 'runs of the playground, an hour after they began', rows: 1 },
];

test('--dry-run counts what is over, every kind of rows in JSON, and deletes nothing', async () => {
  const { code, stdout, stderr } = await run('--dry-run', '--json');
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout)).toHaveLength(retentions.length);
  expect(some(stdout)).toEqual(over);
  expect((await run('--dry-run')).stdout).toMatch(
    /^TABLE +OVER +WHAT\nthrottles +1,500 +counters .*\nplayground_runs +1 /,
  );
  expect(await database.db.$count(throttles)).toBe(1_500);
});

test('sweep deletes it at once, all of it, and says how much that was', async () => {
  const { code, stdout, stderr } = await run('--json');
  expect([code, stderr]).toEqual([0, '']);
  expect(some(stdout)).toEqual(over);
  expect(await database.db.$count(throttles)).toBe(0);
  expect(await database.db.select().from(playgroundRuns)).toMatchObject([{ idHash: 'young' }]);
  expect((await run()).stdout).toBe('Nothing is over.\n');
});

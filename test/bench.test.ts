/** That the benchmark still runs: its figures are nobody's business here. */
import { expect, inject, test } from 'vitest';
import { compare } from '../bench/compare.ts';
import { describe as describeReport, withTables } from '../bench/report.ts';
import { singleConnection } from '../src/db/single-connection.ts';

test('all three providers go through the flows that use up what was made before', async () => {
  const { url } = inject('testServer');
  const only = ['code-exchange', 'refresh', 'introspection'];
  const settings = { databaseUrl: url, serverCpus: undefined, rounds: 1, seconds: 0.1, only, progress: () => {} };
  try {
    const flows = await compare(settings);
    expect(flows.map(({ flow }) => flow)).toEqual(only);
    for (const { latchkey, memory, plain, toMemory, toPlain } of flows) {
      for (const figure of [latchkey, memory, plain, toMemory.median, toPlain.median])
        expect(figure).toBeGreaterThan(0);
    }
    const page = withTables('<!-- flows -->\nold\n<!-- /flows -->', { flows });
    expect(page).toContain('| Code exchange |');
    expect(page).not.toContain('old');
    expect(describeReport({ flows })).toContain('Refresh with rotation');
  } finally {
    const client = singleConnection(url, 'latchkey-test', 30_000);
    await client.connect();
    for (const name of ['bench_latchkey', 'bench_plain'])
      await client.query(`drop database if exists ${name} with (force)`);
    await client.end();
  }
}, 120_000);

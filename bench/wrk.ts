/** A loader that takes next to nothing of the machine, for measuring several processes on it: wrk, from Debian. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findDebianPrograms } from '../test/support/debian-programs.ts';
import type { Asked } from './load.ts';

/** Asks for one thing over and over, and answers how often that was done per second. */
export type Wrk = (
  request: Asked & { url: string },
  options: { connections: number; seconds: number },
) => Promise<number>;

/** @throws when wrk is neither installed nor to be had, in one sentence that says what to install */
export async function findWrk(): Promise<Wrk> {
  const { wrk } = await findDebianPrograms({ wrk: 'usr/bin/wrk' });
  return async ({ url, ...asked }, { connections, seconds }) => {
    const folder = await mkdtemp(join(tmpdir(), 'latchkey-wrk-'));
    const script = join(folder, 'request.lua');
    await writeFile(script, luaOf(asked));
    try {
      const args = ['-t', '1', '-c', String(connections), '-d', `${Math.ceil(seconds)}s`, '-s', script, url];
      const { stdout } = await promisify(execFile)(wrk.path, args, { env: { ...process.env, ...wrk.env } });
      const [, requests, microseconds, failed] = /^done (\d+) (\d+) (\d+)$/m.exec(stdout) ?? [];
      if (requests === undefined || Number(failed) > 0) throw new Error(`wrk at ${url}: ${stdout}`);
      return Number(requests) / (Number(microseconds) / 1e6);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

/** From one of ten thousand addresses each time, as in load.ts. */
function luaOf({ method = 'GET', headers = {}, form }: Asked): string {
  const all = { ...headers, ...(form && { 'content-type': 'application/x-www-form-urlencoded' }) };
  const lines = Object.entries(all).map(([name, value]) => `wrk.headers[${quoted(name)}] = ${quoted(value)}`);
  return `
wrk.method = ${quoted(method)}
${form ? `wrk.body = ${quoted(new URLSearchParams(form).toString())}` : ''}
${lines.join('\n')}
request = function()
  wrk.headers['X-Forwarded-For'] = '10.0.' .. math.random(0, 99) .. '.' .. math.random(1, 100)
  return wrk.format()
end
done = function(summary)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('done %d %d %d\\n', summary.requests, summary.duration, failed))
end
`;
}

const quoted = (text: string) => `'${text.replace(/[\\']/g, '\\$&')}'`;

/** What the pages of docs/ print as shell commands works as printed, in order, against a fresh server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from './support/database.ts';
import { type ServerProcess, sharedSecrets, startServer } from './support/server.ts';

const root = join(import.meta.dirname, '..');
const printedOrigin = 'http://localhost:3000';

/** As printed curl is content with any answer; here an error status is a failure, unless the page expects it. */
const strictly = { yes: 'curl() { command curl -sS --fail-with-body "$@"; }', no: 'unset -f curl' };

/** What `npm run latchkey` runs; npm itself would take half a second of each of sixty commands. */
const withoutNpm = `npm() {
  if [ "$1 $2 $3 $4" = 'run --silent latchkey --' ]; then shift 4; node src/cli/latchkey.ts "$@"; else command npm "$@"; fi
}`;

/** The ```sh blocks of each page that has any, as one script; ```sh refused shows a call that is answered with an error. */
const scripts = readdirSync(join(root, 'docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, blocks: shellBlocks(readFileSync(join(root, 'docs', name), 'utf8')) }))
  .filter(({ blocks }) => blocks.length > 0);

function shellBlocks(page: string): string[] {
  return [...page.matchAll(/^```sh( refused)?\n(.*?)^```$/gms)].map(
    ([, refused, block = '']) => `${refused ? strictly.no : strictly.yes}\n${block}`,
  );
}

let database: TestDatabase;
let server: ServerProcess;
let environment: Record<string, string>;

beforeAll(async () => {
  database = await createTestDatabase();
  environment = { DATABASE_URL: database.url, ...sharedSecrets, LOG_LEVEL: 'warn' };
  server = await startServer({ env: environment });
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

describe.each(scripts)('docs/$name', ({ blocks }) => {
  test('its commands work as printed', { timeout: 90_000 }, async () => {
    const script = blocks.join('\n').replaceAll(printedOrigin, server.origin);
    const shell = spawn('bash', ['-euo', 'pipefail'], {
      cwd: root,
      env: {
        ...environment,
        PATH: [dirname(process.execPath), process.env.PATH].join(':'),
        HOME: process.env.HOME,
        OIDC_ISSUER: server.origin,
        npm_config_update_notifier: 'false',
        npm_config_logs_max: '0',
        NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/latchkey/compiled'),
      },
    });
    let said = '';
    for (const stream of [shell.stdout, shell.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    }
    shell.stdin.end(`${withoutNpm}\n${script}`);
    const [code] = (await once(shell, 'close')) as [number | null];
    expect(code, said).toBe(0);
  });
});

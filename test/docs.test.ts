/** What the pages of docs/, recipes included, print as shell commands works as printed, in order, against a fresh server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCommandLine } from './support/command-line.ts';
import { createTestDatabase, type TestDatabase } from './support/database.ts';
import { freePort } from './support/listen.ts';
import { type ServerProcess, sharedSecrets, startServer } from './support/server.ts';

const root = join(import.meta.dirname, '..');
const printedOrigin = 'http://localhost:3000';

/** As printed curl is content with any answer; here an error status is a failure, unless the page expects it. */
const strictly = { yes: 'curl() { command curl -sS --fail-with-body "$@"; }', no: 'unset -f curl' };

/**
 * `npm run latchkey` in this process: a process of its own takes more than a second, a hundred times. That it runs as one,
 * and what its exit status is, is looked at in test/cli.
 */
const inThisProcess = (url: string) => `npm() {
  [ "$1 $2 $3 $4" = 'run --silent latchkey --' ] || { command npm "$@"; return; }
  shift 4
  local answer status
  answer=$(mktemp)
  status=$(printf '%s\\0' "$@" | command curl -sS -o "$answer" -w '%{http_code}' --data-binary @- ${url})
  if [ "$status" = 200 ]; then cat "$answer"; else cat "$answer" >&2; fi
  rm "$answer"
  [ "$status" = 200 ]
}`;

/** Takes a command's words, each ended by NUL, and answers with what it writes; 500 when it fails. */
async function startCommandLine(): Promise<Server> {
  let turn: Promise<unknown> = Promise.resolve();
  const commands = createServer(async (req, res) => {
    const words = (await text(req)).split('\0').slice(0, -1);
    turn = turn.then(async () => {
      const { code, stdout, stderr } = await runCommandLine({ env: environment, folder: root }, words);
      res.writeHead(code === 0 ? 200 : 500).end(code === 0 ? stdout : stderr);
    });
    turn.catch((error) => res.writeHead(500).end(String(error)));
  });
  commands.listen(0, '127.0.0.1');
  await once(commands, 'listening');
  return commands;
}

/** The ```sh blocks of each page that has any, as one script; ```sh refused shows a call that is answered with an error. */
const scripts = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  .sort()
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
let commands: Server;
let environment: Record<string, string>;

beforeAll(async () => {
  database = await createTestDatabase();
  environment = { DATABASE_URL: database.url, ...sharedSecrets, LOG_LEVEL: 'warn', BCRYPT_ROUNDS: '10' };
  const port = await freePort();
  // By the name that the pages print: passkeys are for names, not for addresses.
  environment = { ...environment, OIDC_ISSUER: `http://localhost:${port}` };
  server = await startServer({ env: environment, port });
  commands = await startCommandLine();
});
afterAll(async () => {
  commands.closeAllConnections();
  commands.close();
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
        npm_config_update_notifier: 'false',
        npm_config_logs_max: '0',
      },
    });
    let said = '';
    for (const stream of [shell.stdout, shell.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    }
    const { port } = commands.address() as AddressInfo;
    shell.stdin.end(`${inThisProcess(`http://127.0.0.1:${port}`)}\n${script}`);
    const [code] = (await once(shell, 'close')) as [number | null];
    expect(code, said).toBe(0);
  });
});

/**
 * Runs the Worker on this machine, in workerd, the runtime of Cloudflare: registers client and API at the provider,
 * bundles worker.ts into one module, and gives it what wrangler.jsonc gives it there. KV is kept in memory.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { register } from './register.ts';

const here = import.meta.dirname;
const {
  ISSUER = 'http://localhost:3000/oidc',
  RESOURCE = 'https://tides.example',
  CLIENT_ID,
  CLIENT_SECRET,
} = process.env;
const port = Number(process.env.PORT ?? 8787);
const origin = `http://localhost:${port}`;

// Before Miniflare's own: the process ends at once, and Miniflare ends workerd with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(0));

try {
  await start();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

async function start(): Promise<void> {
  const address = `${ISSUER}/.well-known/openid-configuration`;
  const discovery = await fetch(address, { signal: AbortSignal.timeout(5_000) }).catch(() => {
    throw new Error(`There is no provider at ${ISSUER}. Start one in another terminal with: npm start`);
  });
  const { issuer } = discovery.ok ? ((await discovery.json().catch(() => ({}))) as { issuer?: unknown }) : {};
  if (issuer !== ISSUER) throw new Error(`${ISSUER} answers, but is not that issuer. Is ISSUER right?`);
  await makeSureOfPort();
  const client = CLIENT_ID ? { client_id: CLIENT_ID, client_secret: CLIENT_SECRET ?? '' } : await registerBoth();
  const bundle = await build({
    entryPoints: [join(here, 'worker.ts')],
    bundle: true,
    format: 'esm',
    target: 'es2024',
    write: false,
  });
  const [, compatibilityDate = ''] =
    /"compatibility_date": "([^"]+)"/.exec(readFileSync(join(here, 'wrangler.jsonc'), 'utf8')) ?? [];
  const worker = new Miniflare({
    modules: true,
    script: bundle.outputFiles[0]?.text ?? '',
    compatibilityDate,
    kvNamespaces: ['KV'],
    bindings: {
      ISSUER,
      ORIGIN: origin,
      RESOURCE,
      CLIENT_ID: client.client_id,
      CLIENT_SECRET: client.client_secret,
      SESSION_KEY: randomBytes(32).toString('base64url'),
    },
    host: '127.0.0.1',
    port,
    // Facts about the caller's place would be fetched from Cloudflare.
    cf: false,
    log: new Log(LogLevel.WARN),
  });
  await worker.ready;
  console.log(`Tidewater is ready.

  Open     ${origin}/
  Sign in  with an account of ${new URL(ISSUER).origin}, or make one on the way
  Client   ${client.client_id}
  API      ${RESOURCE}
`);
}

/** The client registers itself; an API is the operator's matter, so their command line is asked, in the clone's root. */
async function registerBoth() {
  const latchkey = (...words: string[]) =>
    promisify(execFile)('npm', ['run', '--silent', 'latchkey', '--', 'apis', ...words], {
      cwd: join(here, '..', '..'),
    });
  const api = ['--name', 'Tides of the harbour', '--any-client'];
  const scopes = [
    '--scope',
    'tides:read=See the tide table',
    '--scope',
    'tides:report=Report water levels in your name',
  ];
  await latchkey('show', RESOURCE)
    .catch(() => latchkey('create', RESOURCE, ...api, ...scopes))
    .catch((error: { stderr: string }) => {
      const advice = 'Away from a clone of Latchkey, register API and client there; set CLIENT_ID and CLIENT_SECRET.';
      throw new Error(`The API ${RESOURCE} cannot be registered. ${advice}\n${error.stderr}`);
    });
  return register(ISSUER, origin, process.env.REGISTRATION_FILE ?? join(here, '.registration.json'));
}

async function makeSureOfPort(): Promise<void> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening').catch(() => {
    throw new Error(`Port ${port} is taken. Stop what listens there, or set another PORT.`);
  });
  await once(server.close(), 'close');
}

/** The providers that are compared, each a process of its own, with the same clients and the same person. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withClient } from '../src/db/single-connection.ts';
import { freePort } from '../test/support/listen.ts';
import { apis } from './apis.ts';
import { expectStatus, send } from './load.ts';
import { betweenAnswers } from './prepare.ts';

export type Credentials = { id: string; secret: string };

export type ProviderUnderTest = {
  origin: string;
  /** Of the protocol endpoints. */
  issuer: string;
  pid: number;
  /** Signs people in. */
  app: Credentials;
  /** Asks for tokens of its own. */
  service: Credentials;
  person: { email: string; password: string };
  redirectUri: string;
  stop(): Promise<void>;
};

export const person = { email: 'ada@bench.example', password: 'correct horse battery' };
const root = join(import.meta.dirname, '..');
const flags = ['--max-semi-space-size=16'];
const run = promisify(execFile);

/** The same in every provider, so that only what is around the hash differs. */
const bcryptRounds = '10';

export type StartOptions = {
  databaseUrl: string;
  /** Cores to keep to, as taskset has them. */
  cpus?: string | undefined;
  env?: Record<string, string>;
};

/** The same in every run, so that a database that took an hour to fill can be measured again. */
const secrets = {
  OIDC_COOKIE_SECRET: 'the cookie secret of the bench that protects nobody',
  OIDC_ENCRYPTION_KEY: Buffer.alloc(32, 'bench').toString('base64'),
};

/** Latchkey as an operator runs it in production, on a database of its own, which `name` names. */
export async function startLatchkey(
  name: string,
  { databaseUrl, cpus, env = {} }: StartOptions,
): Promise<ProviderUnderTest> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const variables = {
    NODE_ENV: 'production',
    DATABASE_URL: await ownDatabase(databaseUrl, name),
    PORT: String(port),
    HOST: '127.0.0.1',
    OIDC_ISSUER: origin,
    BCRYPT_ROUNDS: bcryptRounds,
    CLIENT_REGISTRATION: 'open',
    PASSWORD_CHECK: 'length',
    TRUST_PROXY: 'loopback',
    ...secrets,
    ...env,
  };
  const commands = async (...words: string[][]): Promise<unknown[]> => {
    const args = [join(import.meta.dirname, 'prepare.ts'), JSON.stringify(words)];
    const { stdout } = await run(process.execPath, args, {
      cwd: tmpdir(),
      env: { PATH: process.env.PATH, ...variables },
    });
    // One that a database has already, as one that was measured before does, is no answer.
    return stdout.split(betweenAnswers).map((answer) => JSON.parse(answer || '{}'));
  };
  const server = await start([join(root, 'src/main.ts')], variables, { cpus, ready: 'Latchkey is ready.' });
  const redirectUri = 'https://app.bench.example/callback';
  const grants = ['--grant', 'authorization_code', '--grant', 'refresh_token'];
  const answers = await commands(
    ['clients', 'create', '--name', 'App', '--first-party', '--redirect-uri', redirectUri, ...grants],
    ['clients', 'create', '--name', 'Service', '--grant', 'client_credentials'],
    ...apis.map(({ identifier, scope, format }) => [
      ...['apis', 'create', identifier, '--name', format, '--scope', `${scope}=Read`, '--token-format', format],
    ]),
  );
  const [app, service] = answers.slice(0, 2).map((answer): Credentials => {
    const { client_id: id, client_secret: secret } = answer as { client_id: string; client_secret: string };
    return { id, secret };
  }) as [Credentials, Credentials];
  await commands(...apis.map(({ identifier, scope }) => ['apis', 'allow', service.id, identifier, '--scope', scope]));
  const registered = await send(`${origin}/auth/register`, { method: 'POST', json: { ...person, name: 'Ada Moreno' } });
  if (registered.status !== 409) expectStatus(registered, 201);
  return { origin, issuer: `${origin}/oidc`, app, service, person, redirectUri, ...server };
}

/** The bare library: in memory, or with `databaseUrl` on the plainest adapter. */
export async function startBare(
  options: Omit<StartOptions, 'databaseUrl'> & { databaseUrl?: string },
): Promise<ProviderUnderTest> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const redirectUri = 'https://app.bench.example/callback';
  const app = { id: 'app', secret: randomBytes(32).toString('base64url') };
  const service = { id: 'service', secret: randomBytes(32).toString('base64url') };
  const clients = [
    {
      client_id: app.id,
      client_secret: app.secret,
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
    },
    {
      client_id: service.id,
      client_secret: service.secret,
      redirect_uris: [],
      response_types: [],
      grant_types: ['client_credentials'],
    },
  ];
  const variables = {
    NODE_ENV: 'production',
    PORT: String(port),
    CLIENTS: JSON.stringify(clients),
    BCRYPT_ROUNDS: bcryptRounds,
    ...(options.databaseUrl && { DATABASE_URL: await ownDatabase(options.databaseUrl, 'bench_plain') }),
  };
  const server = await start([join(import.meta.dirname, 'bare-provider.ts')], variables, {
    cpus: options.cpus,
    ready: 'ready',
  });
  return { origin, issuer: origin, app, service, person, redirectUri, ...server };
}

async function start(
  args: string[],
  env: Record<string, string>,
  options: { cpus: string | undefined; ready: string },
) {
  const command = [process.execPath, ...flags, ...args];
  const pinned = options.cpus === undefined ? command : ['taskset', '-c', options.cpus, ...command];
  const child = spawn(pinned[0] as string, pinned.slice(1), {
    cwd: tmpdir(),
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4000);
  });
  child.stdout.setEncoding('utf8');
  const ended = once(child, 'close');
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (text: string) => {
      // What a provider logs is read and let go, as a supervisor would.
      if (said.length < 100_000) said += text;
      if (said.includes(options.ready)) resolve();
    });
    void ended.then(() => reject(new Error(`a provider did not start: ${said.slice(-2000)}${errors}`)));
  });
  process.once('exit', () => child.kill('SIGKILL'));
  return {
    pid: child.pid as number,
    async stop() {
      child.kill('SIGTERM');
      setTimeout(() => child.kill('SIGKILL'), 15_000).unref();
      await ended;
    },
  };
}

/** Made when it is not there. */
export async function ownDatabase(url: string, name: string): Promise<string> {
  await withClient(
    url,
    'latchkey-bench',
    async (client) => {
      const { rowCount } = await client.query('select from pg_database where datname = $1', [name]);
      if (rowCount === 0) await client.query(`create database ${name}`);
    },
    30_000,
  );
  const address = new URL(url);
  address.pathname = `/${name}`;
  return address.href;
}

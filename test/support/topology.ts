/**
 * What `deploy/` describes, as plain processes on loopback: nginx with TLS before two instances, PgBouncer in
 * transaction mode behind them, a PostgreSQL primary with a synchronous standby. nginx and PgBouncer read the very files
 * that are deployed, with ports and paths of this machine put in.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tlsCertificate, tlsKey } from './certificate.ts';
import { newDataFolder, removeDataFolder } from './data-folder.ts';
import { findDebianPrograms } from './debian-programs.ts';
import { freePort } from './listen.ts';
import { type PostgresPair, startPostgresPair } from './postgres-pair.ts';
import { type Program, startProgram } from './program.ts';
import { type ServerProcess, sharedSecrets, startServer } from './server.ts';

export type Topology = {
  origin: string;
  issuer: string;
  instances: ServerProcess[];
  databases: PostgresPair;
  pooler: Program;
  proxy: Program;
  /** Lines of nginx's access log: the instance's port, then method and path. */
  passedOn(): Promise<{ port: number; request: string }[]>;
  /** Writes another primary into PgBouncer's file and has it read again, as the operator does after a fail-over. */
  repointPooler(port: number): Promise<void>;
  stop(): Promise<void>;
};

const deploy = join(import.meta.dirname, '../../deploy');

export async function startTopology(env: Record<string, string>): Promise<Topology> {
  const programs = await findDebianPrograms({ nginx: 'usr/sbin/nginx', pgbouncer: 'usr/sbin/pgbouncer' });
  const folder = await newDataFolder();
  const stops: (() => Promise<unknown>)[] = [() => removeDataFolder(folder)];
  const stop = async () => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    const [first, second, https, http, poolerPort] = await Promise.all([0, 0, 0, 0, 0].map(freePort));
    const databases = await startPostgresPair();
    stops.push(databases.stop);

    const poolerFile = join(folder, 'pgbouncer.ini');
    const users = join(folder, 'users.txt');
    await writeFile(users, `"latchkey" "${databases.password}"\n`, { mode: 0o600 });
    const writePoolerFile = (port: number) =>
      deployed('pgbouncer/pgbouncer.ini', poolerFile, [
        ['host=postgres-1 port=5432', `host=127.0.0.1 port=${port}`],
        ['listen_addr = *', 'listen_addr = 127.0.0.1'],
        ['listen_port = 6432', `listen_port = ${poolerPort}`],
        ['/etc/pgbouncer/users.txt', users],
      ]);
    await writePoolerFile(databases.primary.port);
    const { wrapper } = databases.primary;
    const pooler = startProgram([...wrapper, programs.pgbouncer.path, poolerFile], programs.pgbouncer.env);
    stops.push(() => pooler.end('SIGQUIT'));
    await pooler.until(() => pooler.output().includes('process up'));

    const origin = `https://localhost:${https}`;
    const ports = [Number(first), Number(second)];
    const variables = {
      ...sharedSecrets,
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      OIDC_ISSUER: origin,
      DATABASE_URL: `postgres://latchkey:${databases.password}@127.0.0.1:${poolerPort}/latchkey`,
      TRUST_PROXY: '1',
      CLIENT_REGISTRATION: 'open',
      ...env,
    };
    const instances = await Promise.all(ports.map((port) => startServer({ port, env: variables })));
    stops.push(() => Promise.all(instances.map((instance) => instance.kill9())));

    const log = join(folder, 'access.log');
    await deployed('nginx/latchkey.conf', join(folder, 'latchkey.conf'), [
      ['latchkey-1:3000', `127.0.0.1:${first}`],
      ['latchkey-2:3000', `127.0.0.1:${second}`],
      ['listen 80;', `listen 127.0.0.1:${http};`],
      ['listen 443 ssl http2;', `listen 127.0.0.1:${https} ssl http2;`],
      // Not every machine has IPv6.
      ['listen [::]:80;', ''],
      ['listen [::]:443 ssl http2;', ''],
      ['/etc/latchkey/tls/tls.crt', join(folder, 'tls.crt')],
      ['/etc/latchkey/tls/tls.key', join(folder, 'tls.key')],
    ]);
    await writeFile(join(folder, 'tls.crt'), tlsCertificate());
    await writeFile(join(folder, 'tls.key'), tlsKey(), { mode: 0o600 });
    await mkdir(join(folder, 'temporary'));
    await writeFile(join(folder, 'nginx.conf'), mainOfNginx(folder, log));
    const proxy = startProgram(
      [programs.nginx.path, '-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf')],
      programs.nginx.env,
    );
    stops.push(() => proxy.end('SIGQUIT'));
    await proxy.until(async () => (await readFile(join(folder, 'nginx.pid'), 'utf8').catch(() => '')) !== '');

    return {
      origin,
      issuer: `${origin}/oidc`,
      instances,
      databases,
      pooler,
      proxy,
      async passedOn() {
        const lines = (await readFile(log, 'utf8')).trim().split('\n');
        return lines.map((line) => {
          const [upstream = '', ...request] = line.split(' ');
          return { port: Number(upstream.split(':').at(-1)), request: request.join(' ') };
        });
      },
      async repointPooler(port) {
        await writePoolerFile(port);
        pooler.signal('SIGHUP');
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Copies a file of `deploy/`. Each text to be replaced must be there: else the file has moved on, and this test lies. */
async function deployed(file: string, target: string, replacements: [from: string, to: string][]): Promise<void> {
  let text = await readFile(join(deploy, file), 'utf8');
  for (const [from, to] of replacements) {
    if (!text.includes(from)) throw new Error(`deploy/${file} has no "${from}" any more`);
    text = text.replaceAll(from, to);
  }
  await writeFile(target, text);
}

/** What Debian and the container image have in /etc/nginx/nginx.conf: a file about the machine, not about Latchkey. */
function mainOfNginx(folder: string, log: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/temporary/${name};`,
  );
  return `daemon off;
${process.geteuid?.() === 0 ? 'user root;' : ''}
worker_processes 2;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 512; }
http {
  log_format passed_on '$upstream_addr $request_method $uri';
  access_log ${log} passed_on;
  ${temporary.join('\n  ')}
  include ${folder}/latchkey.conf;
}
`;
}

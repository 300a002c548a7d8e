/** Apache with mod_auth_openidc in front of a tiny application, configured by the recipe's own lines. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { dirname, join } from 'node:path';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { findDebianPrograms } from '../support/debian-programs.ts';
import { endServer, listen } from '../support/listen.ts';
import { startProgram } from '../support/program.ts';
import { readBlocks } from './pages.ts';

/** What the application behind Apache was asked, and answers back to the browser. */
export type Seen = { path: string; headers: IncomingHttpHeaders };

export type Apache = { log(): Promise<string>; stop(): Promise<void> };

const modules = ['authn_core', 'authz_core', 'authz_user', 'headers', 'proxy', 'proxy_http', 'auth_openidc'];

export async function startApache(options: {
  /** Where the site is: a port that is still free, at localhost. */
  origin: string;
  provider: string;
  client: { client_id: string; client_secret?: string };
}): Promise<Apache> {
  const programs = await findDebianPrograms({
    'apache2-bin': 'usr/sbin/apache2',
    'libapache2-mod-auth-openidc': 'usr/lib/apache2/modules/mod_auth_openidc.so',
  });
  const application = createServer((req, res) => {
    const seen: Seen = { path: req.url ?? '', headers: req.headers };
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(seen));
  });
  const folder = await newDataFolder();
  const [site] = readBlocks('apache.md', 'apache', {
    'https://id.example.com': options.provider,
    'https://reports.example.com': options.origin,
    'http://127.0.0.1:9000': `http://127.0.0.1:${await listen(application)}`,
    'the-client-id': options.client.client_id,
    'the-client-secret': options.client.client_secret ?? '',
  });
  const openidc = programs['libapache2-mod-auth-openidc'];
  const others = join(dirname(dirname(dirname(programs['apache2-bin'].path))), 'usr/lib/apache2/modules');
  const file = (name: string) => join(name === 'auth_openidc' ? dirname(openidc.path) : others, `mod_${name}.so`);
  await mkdir(join(folder, 'run'));
  await writeFile(
    join(folder, 'apache.conf'),
    `ServerRoot ${folder}
DefaultRuntimeDir ${folder}/run
PidFile ${folder}/apache.pid
ServerName localhost
Listen 127.0.0.1:${new URL(options.origin).port}
LoadModule mpm_event_module ${file('mpm_event')}
${modules.map((name) => `LoadModule ${name}_module ${file(name)}`).join('\n')}
${process.geteuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}
ErrorLog ${folder}/error.log
LogLevel info
${site}`,
  );
  const apache = startProgram(
    [programs['apache2-bin'].path, '-d', folder, '-f', join(folder, 'apache.conf'), '-D', 'FOREGROUND'],
    { ...programs['apache2-bin'].env, ...openidc.env },
  );
  const log = () => readFile(join(folder, 'error.log'), 'utf8').catch(() => '');
  await apache.until(async () => (await log()).includes('resuming normal operations'));
  return {
    log,
    async stop() {
      await apache.end();
      await endServer(application);
      await removeDataFolder(folder);
    },
  };
}

/**
 * Programs that only Debian packages: those of this machine, or the packages, fetched through apt and unpacked beside
 * our own packages. That needs no root and changes nothing of the system.
 */
import { type ExecFileOptions, execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './cache-folder.ts';

const run = promisify(execFile);

export type DebianProgram = { path: string; env: Record<string, string> };

/**
 * @param wanted by name of its package, the one file of each that the test needs: `{ nginx: 'usr/sbin/nginx' }`
 * @throws when they are neither installed nor to be had, in one sentence that says what to install
 */
export async function findDebianPrograms<Name extends string>(
  wanted: Record<Name, string>,
): Promise<Record<Name, DebianProgram>> {
  const files = Object.entries<string>(wanted);
  const missing = files.filter(([, file]) => !installed(file)).map(([name]) => name);
  const fetched = missing.length > 0 ? await fetchedPackages(missing) : '';
  const env: Record<string, string> = fetched ? { LD_LIBRARY_PATH: libraryFolders(fetched).join(delimiter) } : {};
  const found = files.map(([name, file]) => {
    const path = installed(file);
    return [name, path ? { path, env: {} } : { path: join(fetched, file), env }];
  });
  return Object.fromEntries(found) as Record<Name, DebianProgram>;
}

/** Where Debian has it, or anywhere that programs are looked for. */
function installed(file: string): string | undefined {
  const places = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin'];
  return [join('/', file), ...places.map((place) => join(place, basename(file)))].find((path) => existsSync(path));
}

function libraryFolders(root: string): string[] {
  return ['lib', 'usr/lib'].flatMap((lib) => {
    const folder = join(root, lib);
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((name) => name.endsWith('-linux-gnu'))
      .map((name) => join(folder, name));
  });
}

/** The folder they are unpacked in, made once (about 5 s); of two test processes the first to rename wins. */
async function fetchedPackages(missing: readonly string[]): Promise<string> {
  const folder = join(await cacheFolder(), `debian-${missing.join('-')}`);
  if (existsSync(folder)) return folder;
  const fresh = await mkdtemp(`${folder}.new-`);
  try {
    await unpackPackages(missing, fresh);
    await chmod(fresh, 0o755);
    await rename(fresh, folder);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    if (existsSync(folder)) return folder;
    const { stderr, message } = error as Error & { stderr?: string };
    const reason = (stderr ?? '').split('\n').find((line) => /^[EW]:/.test(line)) ?? message;
    throw new Error(`This test needs packages of Debian: apt-get install -y ${missing.join(' ')} (${reason}).`);
  }
  return folder;
}

async function unpackPackages(packages: readonly string[], folder: string): Promise<void> {
  const apt = join(folder, 'apt');
  for (const place of ['lists/partial', 'cache/archives/partial', 'packages']) {
    await mkdir(join(apt, place), { recursive: true });
  }
  // Lists and archives of our own: the system's may be absent, out of date, or not ours to write.
  const settings = {
    'Dir::State::Lists': `${apt}/lists`,
    'Dir::Cache': `${apt}/cache`,
    'APT::Sandbox::User': '',
    'APT::Update::Error-Mode': 'any',
  };
  const own = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const options = { cwd: join(apt, 'packages'), timeout: 120_000, env: { ...process.env, LC_ALL: 'C' } };
  // A source that does not answer is no matter as long as Debian's own does.
  const behind = await run('apt-get', [...own, '-q', 'update'], options).catch((error: Error) => error);
  await downloadPackages(packages, own, options).catch((error) => {
    throw behind instanceof Error ? behind : error;
  });
  for (const name of await readdir(options.cwd)) await run('dpkg', ['-x', name, folder], options);
  await rm(apt, { recursive: true });
}

/** With the libraries that they name themselves; what those need in turn every Debian has. */
async function downloadPackages(packages: readonly string[], own: string[], options: ExecFileOptions): Promise<void> {
  const { stdout } = await run('apt-cache', [...own, 'depends', '--important', ...packages], options);
  const libraries = [...String(stdout).matchAll(/^ +Depends: (lib(?!c6$)[\w.+-]+)$/gm)].map(([, name]) => name ?? '');
  await run('apt-get', [...own, '-q', 'download', ...packages, ...new Set(libraries)], options);
}

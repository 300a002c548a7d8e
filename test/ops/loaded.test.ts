/** What a server has in memory that does nothing yet. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { sharedSecrets, startServer } from '../support/server.ts';

/** Starts a server as `npm start` does and names what it loaded: packages, and parts of Node. */
async function loadedBy(env: Record<string, string>): Promise<string[]> {
  const database = await createTestDatabase();
  onTestFinished(database.drop);
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-loaded-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const list = join(folder, 'loaded.txt');
  const server = await startServer({
    env: {
      ...sharedSecrets,
      DATABASE_URL: database.url,
      NODE_COMPILE_CACHE: join(import.meta.dirname, '../../node_modules/.cache/latchkey/compiled'),
      NODE_OPTIONS: `--require=${join(import.meta.dirname, 'list-loaded.cjs')}`,
      LIST_LOADED: list,
      ...env,
    },
  });
  await server.stop();
  const loaded = await readFile(list, 'utf8');
  const names = loaded.matchAll(/node_modules\/(?!.*node_modules)((?:@[^/]+\/)?[^/]+)|^NativeModule (.+)$/gm);
  return [...new Set([...names].map(([, name, part]) => name ?? part ?? ''))].toSorted();
}

const seldomNeeded = [
  // Mail, requests to others, traces, passkeys, new passwords, backups.
  'nodemailer',
  'undici',
  '@opentelemetry/sdk-trace-node',
  '@simplewebauthn/server',
  '@zxcvbn-ts/language-common',
  'age-encryption',
  // The compiler of TypeScript in Node, once everything has been compiled.
  'internal/deps/amaro/dist/index',
];

test('a server that idles has not loaded what few requests need, nor anything of OpenTelemetry that does something', async () => {
  const traced = await loadedBy({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    SMTP_URL: 'smtp://127.0.0.1:9',
  });
  expect(traced).toEqual(expect.arrayContaining(['@opentelemetry/sdk-trace-node', 'oidc-provider']));
  expect(traced).not.toContain('nodemailer');
  const loaded = await loadedBy({});
  expect(loaded).toContain('oidc-provider');
  expect(loaded.filter((name) => seldomNeeded.includes(name))).toEqual([]);
  // prom-client loads the interfaces, which do nothing by themselves.
  expect(loaded.filter((name) => name.startsWith('@opentelemetry/'))).toEqual(['@opentelemetry/api']);
}, 60_000);

import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, sep } from 'node:path';
import { expect, test } from 'vitest';

const src = join(import.meta.dirname, '../src');

/** Who may import whom: a folder may import itself and what stands before it, except where `never` says otherwise. */
const order = [
  ['lib'],
  ['db'],
  ['http'],
  ['audit'],
  ['keys'],
  ['mail'],
  ['clients', 'accounts', 'apis'],
  ['oidc'],
  ['sessions'],
  ['federation'],
  ['interactions'],
  ['playground', 'admin'],
  ['ops'],
  ['doctor'],
  ['cli', 'config', '.'],
];
const never: Record<string, string[]> = { clients: ['accounts'], accounts: ['clients'] };

/** Packages with one home. */
const homes: Record<string, (file: string) => boolean> = {
  'oidc-provider': (file) => file.startsWith('oidc/'),
  pg: (file) => file.startsWith('db/'),
  jose: (file) => file.startsWith('keys/'),
  'openid-client': (file) => file.startsWith('federation/'),
  express: (file) => file.startsWith('http/') || file.endsWith('.routes.ts') || file === 'app.ts',
  'drizzle-orm': (file) => !file.endsWith('.routes.ts') && !file.startsWith('cli/') && file !== 'app.ts',
  ejs: (file) => file === 'http/views.ts' || file === 'mail/letters.ts',
  nodemailer: (file) => file.startsWith('mail/'),
  otpauth: (file) => file.startsWith('accounts/'),
  uqr: (file) => file.startsWith('accounts/'),
  'prom-client': (file) => file.startsWith('ops/'),
  '@opentelemetry/api': (file) => file === 'ops/open-telemetry.ts',
  '@opentelemetry/sdk-trace-node': (file) => file === 'ops/open-telemetry.ts',
  '@opentelemetry/exporter-trace-otlp-http': (file) => file === 'ops/open-telemetry.ts',
  'pg-copy-streams': (file) => file.startsWith('db/'),
  'age-encryption': (file) => file.startsWith('ops/'),
  'proxy-addr': (file) => file === 'oidc/fast-path.ts',
  '@simplewebauthn/server': (file) => file.startsWith('accounts/'),
};

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.split(sep).join('/'));
const folderOf = (file: string) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '.');
const text = (file: string) => readFileSync(join(src, file), 'utf8');
const importsOf = (file: string) =>
  [...text(file).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '');
const packageOf = (specifier: string) =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

test('every folder has its place in the order', () => {
  const known = order.flat();
  expect([...new Set(files.map(folderOf))].filter((folder) => !known.includes(folder))).toEqual([]);
});

test('folders import only what stands before them', () => {
  const rank = (folder: string) => order.findIndex((folders) => folders.includes(folder));
  const broken = files.flatMap((file) =>
    importsOf(file)
      .filter((specifier) => specifier.startsWith('.'))
      .map((specifier) => ({ specifier, to: folderOf(posix.join(posix.dirname(file), specifier)) }))
      .filter(({ to }) => to !== folderOf(file))
      .filter(({ to }) => rank(to) > rank(folderOf(file)) || never[folderOf(file)]?.includes(to))
      .map(({ specifier }) => `${file} -> ${specifier}`),
  );
  expect(broken).toEqual([]);
});

test('packages with a home are imported there only', () => {
  const broken = files.flatMap((file) =>
    importsOf(file)
      .filter((specifier) => homes[packageOf(specifier)]?.(file) === false)
      .map((specifier) => `${file} -> ${specifier}`),
  );
  expect(broken).toEqual([]);
});

test('nothing reaches into a package’s private files', () => {
  const broken = files.flatMap((file) => importsOf(file).filter((specifier) => /^oidc-provider\/./.test(specifier)));
  expect(broken).toEqual([]);
});

test('only the configuration reads the environment', () => {
  expect(files.filter((file) => file !== 'config.ts' && /process\.env/.test(text(file)))).toEqual([]);
});

test('no file is two things', () => {
  const long = files.filter((file) => file !== 'db/schema.ts' && text(file).split('\n').length > 300);
  expect(long).toEqual([]);
});

test('programs begin with loading.ts, and import the rest when that has run', () => {
  for (const program of ['main.ts', 'cli/latchkey.ts']) {
    const first = [...text(program).matchAll(/^import .*?'([^']+)';$/gm)].map((match) => match[1] ?? '');
    expect(first.filter((specifier) => !specifier.startsWith('node:'))).toEqual([
      expect.stringMatching(/loading\.ts$/),
    ]);
  }
});

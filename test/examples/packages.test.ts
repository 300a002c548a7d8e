/** What each example's package.json promises to whoever copies the folder out. */
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { root } from '../support/running.ts';

type Manifest = {
  private?: boolean;
  type?: string;
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
};
const manifestOf = (folder: string) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
const ours = manifestOf(root);
const versions = { ...ours.devDependencies, ...ours.dependencies };

const examples = readdirSync(join(root, 'examples'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

test('there are the four examples', () => {
  expect(examples.sort()).toEqual(['edge', 'microservices', 'spa', 'web-app']);
});

describe.each(examples)('examples/%s', (name) => {
  const folder = join(root, 'examples', name);
  const code = globSync('**/*.ts', { cwd: folder });
  const manifest = manifestOf(folder);

  test('names the packages that it imports, in the versions that are tested here', () => {
    const imported = code
      .flatMap((file) => [
        ...readFileSync(join(folder, file), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^'./][^']*)'/g),
      ])
      .map((match) => match[1] ?? '')
      .filter((specifier) => !specifier.startsWith('node:') && !builtinModules.includes(specifier))
      .map((specifier) => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/'));
    const named = { ...manifest.devDependencies, ...manifest.dependencies };
    expect(imported.filter((specifier) => !named[specifier])).toEqual([]);
    for (const [specifier, version] of Object.entries(named))
      expect([specifier, version]).toEqual([specifier, versions[specifier]]);
  });

  test('imports nothing from outside its folder', () => {
    const outside = code.filter((file) => {
      const up = '../'.repeat(file.split('/').length);
      return readFileSync(join(folder, file), 'utf8').includes(`'${up}`);
    });
    expect(outside).toEqual([]);
  });

  test('starts by one command, and has a README of one screen with a diagram of the flow', () => {
    expect(manifest).toMatchObject({
      private: true,
      type: 'module',
      scripts: { start: expect.stringContaining('node ') },
    });
    const readme = readFileSync(join(folder, 'README.md'), 'utf8');
    expect(readme).toContain(`npm start --prefix examples/${name}`);
    expect(readme).toContain('```mermaid');
    expect(readme.split('\n').length).toBeLessThanOrEqual(110);
    expect(existsSync(join(folder, 'package-lock.json'))).toBe(false);
  });
});

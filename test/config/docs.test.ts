import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { expect, test } from 'vitest';
import { describeVariable, type Name, names } from '../../src/config/environment.ts';
import { environment } from '../../src/config/rules.ts';
import { readTexts } from '../../src/config/texts.ts';

const root = join(import.meta.dirname, '../..');

test('docs/configuration.md has the table of variables', async () => {
  const file = join(root, 'docs/configuration.md');
  const [before, after] = readFileSync(file, 'utf8').split(
    /(?<=<!-- variables: .* -->\n)[\s\S]*(?=<!-- end of variables -->)/,
  );
  await expect(`${before}\n${table()}\n${after}`).toMatchFileSnapshot(file);
});

test('.env.example has every variable, commented out', async () => {
  await expect(example()).toMatchFileSnapshot(join(root, '.env.example'));
});

test('.env.example, with every comment sign removed, changes nothing', () => {
  const env = parseEnv(example().replaceAll(/^# (?=[A-Z_]+=)/gm, ''));
  expect(Object.keys(env).toSorted()).toEqual(names.toSorted());
  const { OIDC_ISSUER, ...others } = environment.parse(readTexts(env).texts);
  expect(OIDC_ISSUER).toBe('http://localhost:3000');
  expect(others).toEqual(environment.parse(readTexts({}).texts));
});

/** Aligned, as the formatter of the project would have it. */
function table(): string {
  const rows = names.map((name) => {
    const secret = describeVariable(name).secret ? ' _(secret)_' : '';
    return [`\`${name}\`${secret}`, defaultOf(name), meaningOf(name)];
  });
  const head = ['variable', 'default', 'meaning'];
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const rule = widths.map((width) => '-'.repeat(width));
  const lines = [head, rule, ...rows].map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)));
  return lines.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

function example(): string {
  const head = [
    'Copy to .env and remove the # of what you want to set. Shown are the defaults; an empty one counts as unset.',
    'Secrets may also be given as NAME_FILE, the path of a file that holds the value. See docs/configuration.md.',
  ];
  const entries = names.map((name) => {
    const { secret, unset, productionDefault } = describeVariable(name);
    const meaning = meaningOf(name);
    const notes = [
      secret && 'Secret.',
      unset && `Unset: ${unset}.`,
      productionDefault && `In production: \`${productionDefault}\`.`,
    ];
    const text = [`${meaning[0]?.toUpperCase()}${meaning.slice(1)}.`, ...notes.filter(Boolean)].join(' ');
    return `${comment(text.replaceAll('`', ''))}\n# ${name}=${exampleOf(name)}\n`;
  });
  return [`${head.map(comment).join('\n')}\n`, ...entries].join('\n');
}

function meaningOf(name: Name): string {
  return describeVariable(name).meaning;
}

function defaultOf(name: Name): string {
  const { default: fallback, productionDefault, unset } = describeVariable(name);
  if (!fallback) return `unset: ${unset}`;
  return productionDefault ? `\`${fallback}\`, in production \`${productionDefault}\`` : `\`${fallback}\``;
}

function exampleOf(name: Name): string {
  return name === 'OIDC_ISSUER' ? 'http://localhost:3000' : (describeVariable(name).default ?? '');
}

function comment(text: string): string {
  return text.replaceAll(/(.{1,110})(?: |$)/g, '# $1\n').trimEnd();
}

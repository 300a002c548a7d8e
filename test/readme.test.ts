/** What the README prints must work as printed, against a fresh server. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startAppForTest } from './support/app.ts';
import { discover, type Registration, signInThrough } from './support/relying-party.ts';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** The `curl` calls of the README, with the address of the server under test in place of the printed one. */
function curlCalls(origin: string): { url: string; body: string }[] {
  const shell = readme.replaceAll('\\\n', ' ');
  return [...shell.matchAll(/^curl (\S+) -H 'content-type: application\/json'\s+-d '(\{[^']*\})'/gm)].map(
    ([, url = '', body = '']) => ({ url: url.replace('http://localhost:3000', origin), body }),
  );
}

test('the printed calls make an account and a client, and the client signs that person in', async () => {
  const app = await startAppForTest();
  const calls = curlCalls(app.origin);
  expect(calls).toHaveLength(2);
  const answers = [];
  for (const { url, body } of calls) {
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    expect(response.status).toBe(201);
    answers.push(await response.json());
  }
  const [account, registration] = answers as [{ sub: string; email: string }, Registration];
  const { password } = JSON.parse(calls[0]?.body ?? '') as { password: string };
  const { tokens } = await signInThrough(
    app,
    await discover(app, registration),
    { email: account.email, password },
    { parameters: { redirect_uri: 'http://localhost:8080/callback' } },
  );
  expect(tokens.claims()).toMatchObject({ iss: app.issuer, aud: registration.client_id, sub: account.sub });
});

test('every link and picture of the documentation leads somewhere', () => {
  const pages = [
    'README.md',
    ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
  ];
  const broken = pages.flatMap((page) => {
    const text = readFileSync(join(root, page), 'utf8');
    const links = [...text.matchAll(/\]\(([^)#]+)[^)]*\)|src="([^"]+)"/g)].map((match) => match[1] ?? match[2] ?? '');
    return links
      .filter((link) => !/^https?:/.test(link) && !existsSync(join(root, page, '..', link)))
      .map((link) => `${page}: ${link}`);
  });
  expect(broken).toEqual([]);
});

test('every script that the README names exists', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object };
  const named = [...readme.matchAll(/(?:`|&& )npm (?:run )?([a-z:]+)/g)]
    .map(([, name]) => name)
    .filter((name) => name !== 'ci' && name !== 'run');
  expect(named.filter((name) => !(String(name) in scripts))).toEqual([]);
});

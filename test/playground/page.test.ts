import { expect, test } from 'vitest';
import { createViews } from '../../src/http/views.ts';
import { jsonInk, requestInk } from '../../src/playground/ink.ts';
import { runPage } from '../../src/playground/page.ts';
import type { Run } from '../../src/playground/run.ts';
import { readText } from '../support/person.ts';

const views = createViews({
  brand: { name: 'Northgate', logoUrl: undefined, hue: 178 },
  host: 'id.example',
  cache: true,
});
const issuer = 'https://id.example/oidc';

const run: Run = {
  startedAt: 0,
  stage: 'finished',
  endpoints: undefined,
  request: { state: 's', nonce: 'n', codeVerifier: 'v' },
  tokens: undefined,
  logoutState: undefined,
  steps: [],
};
const html = (changes: Partial<Run>) => views.render('playground/run', runPage({ ...run, ...changes }));

test('whatever the wire carried is text on the page', async () => {
  const hostile = '"><img src=x onerror=alert(1)><script>alert(1)</script>';
  const exchange = {
    method: 'POST' as const,
    url: `${issuer}/token`,
    headers: [['x', hostile]] as [string, string][],
    parameters: [[hostile, hostile]] as [string, string][],
    milliseconds: 1,
  };
  const answer = {
    status: 400,
    statusText: hostile,
    headers: [],
    body: JSON.stringify({ error: hostile, [hostile]: 1 }),
  };
  const checks = [{ text: hostile, ok: false }];
  const findings = {
    token: hostile,
    signature: { valid: true, alg: hostile, kid: hostile } as const,
    claims: { [hostile]: false },
  };
  const page = await html({
    steps: [
      { name: 'token', exchange: { ...exchange, response: answer } },
      { name: 'userinfo', exchange: { ...exchange, response: { ...answer, body: hostile } }, checks },
      {
        name: 'authorization-response',
        url: `${issuer}/x`,
        parameters: [['error', hostile]],
        checks: [],
        milliseconds: 1,
      },
      { name: 'id-token', keys: exchange, findings },
    ],
  });
  expect(page).not.toContain('<img');
  expect(page.match(/<script/g)).toHaveLength(1);
  expect(readText(page)).toContain(`"${hostile.replaceAll('"', '\\"')}" : 1`);
});

test('an ID token that fails its checks ends the run in plain words', async () => {
  const keys = { method: 'GET' as const, url: `${issuer}/jwks`, headers: [], parameters: [], milliseconds: 1 };
  const findings = { token: 'a.b.c', signature: { valid: false, reason: 'wrong-signature' } as const, claims: {} };
  const text = readText(await html({ steps: [{ name: 'id-token', keys, findings }] }));
  expect(text).toContain('This run stopped early.');
  expect(text).toContain('This ID token isn’t one to trust.');
  expect(text).toContain('Signature not valid. It was changed after it was signed.');
});

test.each(['waiting', 'redeeming'] as const)('a run that is %s says that it is not finished', async (stage) => {
  const page = await html({ stage });
  expect(readText(page)).toContain('This run isn’t finished.');
  expect(page).toContain('id="playground-start"');
});

test('an answer that is not what it should be is told from one that says no', async () => {
  const exchange = { method: 'GET' as const, url: `${issuer}/x`, headers: [], parameters: [], milliseconds: 1 };
  const answered = (status: number, body: string) => ({
    ...exchange,
    response: { status, statusText: '', headers: [], body },
  });
  const words = async (status: number, body: string) =>
    readText(await html({ steps: [{ name: 'discovery', exchange: answered(status, body), checks: [] }] }));
  expect(await words(200, '<html>')).toContain('There’s no issuer in it.');
  expect(await words(200, '[]')).toContain('There’s no issuer in it.');
  expect(await words(503, '')).toContain('The server said no: 503.');
  expect(await words(302, '')).toContain('The server said no: 302.');
});

test('requests are written one parameter a line, names marked', () => {
  const parameters = [
    ['a', '1'],
    ['b', '2&3'],
  ] as const;
  const text = (method: 'GET' | 'POST') =>
    requestInk({ method, url: `${issuer}/token`, headers: [], parameters: [...parameters] })
      .map((ink) => ink.text)
      .join('');
  expect(text('GET')).toBe('GET /oidc/token\n?a=1\n&b=2&3');
  expect(text('POST')).toBe('POST /oidc/token\ncontent-type: application/x-www-form-urlencoded\n\na=1\n&b=2&3');
});

test('JSON keeps its text, and only member names are marked', () => {
  const json = { 'a"b': 'x: "y"', list: [{ c: 1 }, '"d": 2'], empty: {} };
  const ink = jsonInk(json);
  expect(JSON.parse(ink.map(({ text }) => text).join(''))).toEqual(json);
  expect(ink.flatMap(({ text, as }) => (as === 'name' ? [text] : []))).toEqual(['"a\\"b"', '"list"', '"c"', '"empty"']);
});

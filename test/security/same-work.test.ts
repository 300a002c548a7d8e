/**
 * Known and unknown addresses are the same work. Time is not measured but what takes it: the statements that a request
 * sends, in their order, and the hashes it has computed. A clock on a busy machine would prove less.
 */

import pg from 'pg';
import { Piscina } from 'piscina';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startAppForTest, type TestApp } from '../support/app.ts';
import { registerAccount } from '../support/relying-party.ts';

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

type Work = { status: number; statements: string[]; hashes: string[] };

/** What a request makes this process do. Nothing else runs: the application's timers never go off. */
async function workOf(request: () => Promise<Response>): Promise<Work> {
  const statements: string[] = [];
  const hashes: string[] = [];
  const query = pg.Client.prototype.query as (...args: unknown[]) => unknown;
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...args: unknown[]) {
    const [statement] = args as [string | { text: string }];
    statements.push(typeof statement === 'string' ? statement : statement.text);
    return query.apply(this, args);
  } as never);
  const run = Piscina.prototype.run;
  vi.spyOn(Piscina.prototype, 'run').mockImplementation(function (this: Piscina, task, options) {
    hashes.push(`${options?.name} ${costOf(task)}`);
    return run.call(this, task, options);
  });
  try {
    const response = await request();
    await response.text();
    return { status: response.status, statements: statements.map(shapeOf), hashes };
  } finally {
    vi.restoreAllMocks();
  }
}

function costOf({ rounds, hash }: { rounds?: number; hash?: string }): string | undefined {
  return rounds === undefined ? hash?.slice(0, 7) : `${rounds}`;
}

/** Which rows are asked for or written is what may differ; the number of lists' members may not. */
const shapeOf = (statement: string) => statement.replace(/\s+/g, ' ').trim();

let addresses = 0;
function send(app: TestApp, path: string, body: object, as: 'json' | 'form'): Promise<Response> {
  addresses += 1;
  return fetch(app.origin + path, {
    method: 'POST',
    redirect: 'manual',
    body: as === 'json' ? JSON.stringify(body) : new URLSearchParams(body as Record<string, string>),
    headers: {
      'x-forwarded-for': `203.0.113.${addresses}`,
      ...(as === 'json' && { 'content-type': 'application/json' }),
    },
  });
}

const ways: [string, string, Record<string, string>, (email: string) => object, number][] = [
  ['signing in (SECURITY 49)', '/auth/login', {}, (email) => ({ email, password: 'not it at all' }), 1],
  ['asking for a reset (SECURITY 50)', '/auth/forgot-password', {}, (email) => ({ email }), 0],
  [
    'registering where addresses are proven first (SECURITY 50)',
    '/auth/register',
    { ACCOUNT_REGISTRATION: 'verified' },
    (email) => ({ email, name: 'Ada', password: 'tram window salt piano' }),
    1,
  ],
];

describe.each(ways)('%s', (_what, path, env, bodyWith, hashes) => {
  test.each(['json', 'form'] as const)('is the same work for known and unknown addresses (%s)', async (as) => {
    const open = await startAppForTest();
    const ada = await registerAccount(open);
    const app = await startAppForTest({
      env: { TRUST_PROXY: '1', ...env },
      database: { url: open.databaseUrl },
      idle: true,
    });
    const work = (email: string) => workOf(() => send(app, path, bodyWith(email), as));
    // What is found out once and kept is found out before.
    await work('somebody-before@moreno.example');

    const unknown = await work('nobody@moreno.example');
    const known = await work(ada.email);
    expect(unknown.statements.length).toBeGreaterThan(2);
    expect(unknown.hashes).toHaveLength(hashes);
    expect(known).toEqual(unknown);
    // And again, when each has a count, a link or a mail already.
    expect(await work(ada.email)).toEqual(await work('nobody@moreno.example'));
  });
});

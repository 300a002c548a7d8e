/**
 * Known and unknown addresses are the same work. Time is not measured but what takes it: the statements that a request
 * sends, in their order, and the hashes it has computed. A clock on a busy machine would prove less.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { createServer } from 'node:http';
import pg from 'pg';
import { Piscina } from 'piscina';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { closeServer } from '../../src/ops/stop.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { listen } from '../support/listen.ts';
import { fromElsewhere } from '../support/person.ts';
import { registerAccount } from '../support/relying-party.ts';

type Work = { statements: string[]; hashes: string[] };

/** What is done for the request that is looked at, and nothing that goes on besides in this process. */
const lookedAt = new AsyncLocalStorage<Work>();

beforeEach(() => {
  const { query } = pg.Client.prototype;
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...args: unknown[]) {
    const [statement] = args as [string | { text: string }];
    lookedAt.getStore()?.statements.push(typeof statement === 'string' ? statement : statement.text);
    return (query as (...args: unknown[]) => unknown).apply(this, args);
  } as never);
  const { run } = Piscina.prototype;
  vi.spyOn(Piscina.prototype, 'run').mockImplementation(function (this: Piscina, task, options) {
    lookedAt.getStore()?.hashes.push(`${options?.name} ${costOf(task)}`);
    return run.call(this, task, options);
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** Serves one request of an application that was started, and answers what that took. */
async function workOf(app: TestApp, path: string, init: RequestInit): Promise<Work & { status: number }> {
  const work: Work = { statements: [], hashes: [] };
  const server = createServer((req, res) => lookedAt.run(work, () => app.app.handler(req, res)));
  const port = await listen(server);
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, method: 'POST', redirect: 'manual' });
    await response.text();
    return { status: response.status, ...work };
  } finally {
    await closeServer(server);
  }
}

function costOf({ rounds, hash }: { rounds?: number; hash?: string }): string | undefined {
  return rounds === undefined ? hash?.slice(0, 7) : `${rounds}`;
}

function requestWith(body: object, as: 'json' | 'form'): RequestInit {
  return {
    body: as === 'json' ? JSON.stringify(body) : new URLSearchParams(body as Record<string, string>),
    headers: {
      ...fromElsewhere(),
      ...(as === 'json' && { 'content-type': 'application/json' }),
    },
  };
}

let app: TestApp;
let proving: TestApp;
beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  const env = { TRUST_PROXY: '1', ACCOUNT_REGISTRATION: 'verified' };
  proving = await startApp({ env, database: { url: app.databaseUrl } });
});
afterAll(async () => {
  await proving.close();
  await app.close();
});

type Way = { at: () => TestApp; path: string; body(email: string): object; hashes: number; last: RegExp };

const ways: [string, Way][] = [
  [
    'signing in (SECURITY 49)',
    {
      at: () => app,
      path: '/auth/login',
      body: (email) => ({ email, password: 'not it at all' }),
      hashes: 1,
      last: /^insert into "audit_events"/,
    },
  ],
  [
    'asking for a reset (SECURITY 50)',
    { at: () => app, path: '/auth/forgot-password', body: (email) => ({ email }), hashes: 0, last: /^commit$/ },
  ],
  [
    'registering where addresses are proven first (SECURITY 50)',
    {
      at: () => proving,
      path: '/auth/register',
      body: (email) => ({ email, name: 'Ada', password: 'tram window salt piano' }),
      hashes: 1,
      last: /^commit$/,
    },
  ],
];

describe.each(ways)('%s', (_what, { at, path, body, hashes, last }) => {
  test.each(['json', 'form'] as const)('is the same work for known and unknown addresses (%s)', async (as) => {
    const { email } = await registerAccount(app);
    const work = (email: string) => workOf(at(), path, requestWith(body(email), as));
    // What is found out once and kept is found out before.
    await work(`before-${email}`);

    const unknown = await work(`nobody-${email}`);
    const known = await work(email);
    expect(unknown.hashes).toHaveLength(hashes);
    expect(unknown.statements.at(-1)).toMatch(last);
    expect(known).toEqual(unknown);
    // And again, when each has a count, a link or a mail already.
    expect(await work(email)).toEqual(await work(`nobody-${email}`));
  });
});

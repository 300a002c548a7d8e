/** Clients and what they may do, kept in memory by two instances on one database (decision 10). */
import { eq, sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { deleteApi, updateApi } from '../../src/apis/apis.ts';
import { disallowApi } from '../../src/apis/client-access.ts';
import { setAuthorizationMetadata } from '../../src/clients/authorization-metadata.ts';
import { deleteClient } from '../../src/clients/clients.ts';
import { type OpenDatabase, openDatabase } from '../../src/db/database.ts';
import { oidcClients } from '../../src/db/schema.ts';
import { askForToken, createApis, createService, invoices, photos } from '../apis/fixture.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type DeafProxy, startDeafProxy } from '../support/deaf-proxy.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';

let database: TestDatabase;
let here: TestApp;
let there: TestApp;
/** What the operator's command line is: a process that keeps nothing. */
let operator: OpenDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  here = await startApp({ database, idle: true });
  there = await startApp({ database, idle: true });
  operator = openDatabase(database.url);
  await createApis(here);
});
afterAll(async () => {
  await operator.close();
  await Promise.all([here.close(), there.close()]);
  await database.drop();
});

const soon = { timeout: 10_000, interval: 20 };
const access = { [invoices]: ['read', 'pay'], [photos]: ['read'] };
const opaque = { resource: photos, scope: 'read' };
const read = { resource: invoices, scope: 'read' };

/** A service that got tokens at each of the instances, so that they know it. */
async function knownService(...apps: TestApp[]): Promise<Registration> {
  const service = await createService(here, access);
  for (const app of [here, ...apps]) expect(await outcome(app, service)).toBe('token');
  return service;
}

const outcome = async (app: TestApp, service: Registration, parameters = read): Promise<unknown> => {
  const { body } = await askForToken(app, service, parameters);
  return body.error ?? 'token';
};

async function manage(
  app: TestApp,
  client: Registration,
  method: string,
  path = '',
  body?: object,
): Promise<Registration> {
  const response = await fetch(`${app.origin}/clients/${client.client_id}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${client.registration_access_token}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  expect(response.ok, `${method} ${path}`).toBe(true);
  return response.status === 204 ? client : ((await response.json()) as Registration);
}

/** The statements sent to the database while `work` runs, by whichever instance. */
async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  const sent: string[] = [];
  const { query } = pg.Client.prototype;
  const spy = vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...args: unknown[]) {
    const [statement] = args as [string | { text: string }];
    sent.push(typeof statement === 'string' ? statement : statement.text);
    return Reflect.apply(query, this, args);
  } as never);
  await work();
  spy.mockRestore();
  return sent;
}

describe('a client that got a token before', () => {
  test('gets the next JWT without a statement, and an opaque token with one', async () => {
    const service = await knownService();
    // The first was noted; a moment later everything is as it stays.
    await expect.poll(() => statementsOf(() => outcome(here, service)), soon).toEqual([]);
    expect(await outcome(here, service, opaque)).toBe('token');
    const stored = await statementsOf(() => outcome(here, service, opaque));
    expect(stored).toEqual([expect.stringContaining('insert into "oidc_grants"')]);
  });

  test('is not looked up again because of others that come, get their first token and go', async () => {
    const service = await knownService(there);
    const other = await createService(here, access);
    expect(await outcome(here, other)).toBe('token');
    await manage(here, other, 'DELETE');
    await registerClient(here);
    // Whatever was told of them has come when this has.
    await expect.poll(() => outcome(there, other), soon).toBe('invalid_client');
    for (const app of [here, there]) {
      // What came of an own change is known a moment later.
      await expect.poll(() => statementsOf(() => outcome(app, service)), soon).toEqual([]);
    }
  });
});

const deviceCode = 'urn:ietf:params:oauth:grant-type:device_code';

type Change = (service: Registration, app: TestApp) => Promise<unknown>;
const changes: [what: string, change: Change, outcome: string][] = [
  ['its secret was replaced', (service, app) => manage(app, service, 'POST', '/secret', {}), 'invalid_client'],
  ['it was deleted', (service, app) => manage(app, service, 'DELETE'), 'invalid_client'],
  [
    'it gave up the grant type',
    ({ client_id }, app) =>
      app.database.db
        .update(oidcClients)
        .set({ metadata: sql`metadata || ${JSON.stringify({ grant_types: [deviceCode] })}::jsonb` })
        .where(eq(oidcClients.clientId, client_id)),
    'invalid_request',
  ],
  [
    'the API was taken from it',
    ({ client_id }, app) => disallowApi(app.database.db, client_id, invoices),
    'invalid_target',
  ],
];

describe('it gets nothing any more when', () => {
  test.each(changes)(
    '%s: at once at that instance, and a moment later at the other',
    async (_what, change, refusal) => {
      const service = await knownService(there);
      await change(service, here);
      expect(await outcome(here, service)).toBe(refusal);
      await expect.poll(() => outcome(there, service), soon).toBe(refusal);
    },
  );

  test('the operator takes an API from it, or deletes it, by command: a moment later everywhere', async () => {
    const service = await knownService(there);
    await disallowApi(operator.db, service.client_id, invoices);
    for (const app of [here, there]) await expect.poll(() => outcome(app, service), soon).toBe('invalid_target');
    await deleteClient(operator.db, service.client_id);
    for (const app of [here, there]) await expect.poll(() => outcome(app, service), soon).toBe('invalid_client');
  });

  describe('and notices get lost', () => {
    let proxy: DeafProxy;
    let deaf: TestApp;
    beforeAll(async () => {
      proxy = await startDeafProxy(database.url);
      // Not idle: it waits for a notice, and gives up.
      deaf = await startApp({ database: proxy });
    });
    afterAll(async () => {
      await deaf.close();
      await proxy.close();
    });

    test.each(changes)('%s: a second later where none ever arrive', async (_what, change, refusal) => {
      const service = await knownService(deaf);
      await change(service, here);
      await expect.poll(() => outcome(deaf, service), soon).toBe(refusal);
    });

    test.each(changes)(
      '%s: at once where it was done, whether or not notices arrive',
      async (_what, change, refusal) => {
        const service = await knownService(deaf);
        await change(service, deaf);
        expect(await outcome(deaf, service)).toBe(refusal);
      },
    );
  });

  describe('and this one notice was lost', () => {
    let proxy: DeafProxy;
    let deaf: TestApp;
    beforeAll(async () => {
      proxy = await startDeafProxy(database.url);
      proxy.deaf = false;
      deaf = await startApp({ database: proxy, idle: true });
    });
    afterAll(async () => {
      await deaf.close();
      await proxy.close();
    });

    test.each(changes)('%s: half a minute later', async (_what, change, refusal) => {
      const service = await knownService(deaf);
      proxy.deaf = true;
      await change(service, here);
      const { now } = performance;
      vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + 30_000);
      onTestFinished(() => {
        vi.restoreAllMocks();
        proxy.deaf = false;
      });
      expect(await outcome(deaf, service)).toBe(refusal);
    });
  });
});

describe('what changes otherwise is followed everywhere too', () => {
  test('a secret in its time of grace, and the end of that', async () => {
    const service = await knownService(there);
    const renewed = await manage(here, service, 'POST', '/secret', { grace_seconds: 60 });
    await expect.poll(() => outcome(there, renewed), soon).toBe('token');
    expect(await outcome(there, service)).toBe('token');
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 });
    onTestFinished(() => void vi.useRealTimers());
    expect([await outcome(there, service), await outcome(there, renewed)]).toEqual(['invalid_client', 'token']);
  });

  test('the operator’s words about it', async () => {
    const service = await knownService(there);
    await setAuthorizationMetadata(operator.db, service.client_id, { tier: 'gold' });
    const claims = async () => {
      const { body } = await askForToken(there, service, read);
      return Buffer.from(String(body.access_token).split('.')[1] ?? '', 'base64url').toString();
    };
    await expect.poll(claims, soon).toContain('gold');
  });

  test('a scope that the API loses, and the API itself', async () => {
    const service = await knownService(there);
    await updateApi(operator.db, invoices, { scopes: { pay: 'Pay your invoices' } });
    for (const app of [here, there]) await expect.poll(() => outcome(app, service), soon).toBe('invalid_scope');
    await deleteApi(operator.db, invoices);
    for (const app of [here, there]) await expect.poll(() => outcome(app, service), soon).toBe('invalid_target');
  });
});

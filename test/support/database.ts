/** A migrated database of its own for each test file that asks for one. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { inject } from 'vitest';
import { type OpenDatabase, openDatabase } from '../../src/db/database.ts';
import { singleConnection, withClient } from '../../src/db/single-connection.ts';

declare module 'vitest' {
  interface ProvidedContext {
    testServer: { url: string; run: string; secrets: { OIDC_COOKIE_SECRET: string; OIDC_ENCRYPTION_KEY: string } };
  }
}

export type TestDatabase = { url: string; drop(): Promise<void> };

/** Clones the migrated template: an empty database with all tables. `drop` ends its connections too. */
export async function createTestDatabase(): Promise<TestDatabase> {
  return create((run, name) => clone(`latchkey_test_${run}_template`, name));
}

/** The same as a first start under `testSecrets` leaves it: with signing keys. */
export async function createStartedDatabase(): Promise<TestDatabase> {
  return create((run, name) => clone(`latchkey_test_${run}_started`, name));
}

/** Another with the same in it. Nobody may be using the one that is cloned. */
export async function cloneDatabase({ url }: { url: string }): Promise<TestDatabase> {
  return create((_run, name) => clone(new URL(url).pathname.slice(1), name));
}

export type OpenTestDatabase = OpenDatabase & { url: string };

/** The same with a pool on it; `close` drops the database, too. */
export async function openTestDatabase(): Promise<OpenTestDatabase> {
  const { url, drop } = await createTestDatabase();
  const database = openDatabase(url);
  const close = async () => {
    await database.close();
    await drop();
  };
  return { ...database, url, close };
}

/** Without any table, as an operator makes it. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  return create((_run, name) => execute(`create database ${name}`));
}

async function create(make: (run: string, name: string) => Promise<void>): Promise<TestDatabase> {
  const { url, run } = inject('testServer');
  const name = `latchkey_test_${run}_${randomBytes(6).toString('hex')}`;
  await make(run, name);
  return {
    url: withDatabase(url, name),
    drop: () => execute(`drop database if exists ${name} with (force)`),
  };
}

/** The template is busy now and then: PostgreSQL's own housekeeping visits it. */
async function clone(template: string, name: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await execute(`create database ${name} template ${template} strategy file_copy`);
    } catch (error) {
      if (attempt === 20 || (error as { code?: string }).code !== objectInUse) throw error;
      await delay(attempt * 20);
    }
  }
}

const objectInUse = '55006';

let connection: Promise<Client> | undefined;
let turn: Promise<unknown> = Promise.resolve();

/** On one connection for all tests of this process, in turn: to connect takes as long as to make a database. */
function execute(statement: string): Promise<void> {
  const done = turn.then(async () => {
    connection ??= connect();
    await (await connection).query(statement);
  });
  turn = done.catch(() => {});
  return done;
}

async function connect(): Promise<Client> {
  const client = singleConnection(inject('testServer').url, 'latchkey-test', 30_000);
  client.once('end', () => {
    connection = undefined;
  });
  await client.connect();
  return client;
}

/** A statement on a connection of its own, as by an operator's own tool. */
export function queryDatabase(url: string, statement: string): Promise<Record<string, unknown>[]> {
  return withClient(url, 'latchkey-test', async (client) => (await client.query(statement)).rows, 30_000);
}

export function withDatabase(url: string, name: string): string {
  const address = new URL(url);
  address.pathname = `/${name}`;
  return address.href;
}

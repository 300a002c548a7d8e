/** A migrated database of its own for each test file that asks for one. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { inject } from 'vitest';
import { type OpenDatabase, openDatabase } from '../../src/db/database.ts';
import { withClient } from '../../src/db/single-connection.ts';

declare module 'vitest' {
  interface ProvidedContext {
    testServer: { url: string; run: string };
  }
}

export type TestDatabase = { url: string; drop(): Promise<void> };

/** Clones the migrated template: an empty database with all tables. `drop` ends its connections too. */
export async function createTestDatabase(): Promise<TestDatabase> {
  return create((url, name, run) => clone(url, `latchkey_test_${run}_template`, name));
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
  return create((url, name) => queryDatabase(url, `create database ${name}`));
}

async function create(make: (url: string, name: string, run: string) => Promise<unknown>): Promise<TestDatabase> {
  const { url, run } = inject('testServer');
  const name = `latchkey_test_${run}_${randomBytes(6).toString('hex')}`;
  await make(url, name, run);
  return {
    url: withDatabase(url, name),
    async drop() {
      await queryDatabase(url, `drop database if exists ${name} with (force)`);
    },
  };
}

/** The template is busy now and then: PostgreSQL's own housekeeping visits it. */
async function clone(url: string, template: string, name: string): Promise<unknown> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await queryDatabase(url, `create database ${name} template ${template}`);
    } catch (error) {
      if (attempt === 20 || (error as { code?: string }).code !== objectInUse) throw error;
      await delay(attempt * 20);
    }
  }
}

const objectInUse = '55006';

/** A statement on a connection of its own, as by an operator's own tool. */
export function queryDatabase(url: string, statement: string): Promise<Record<string, unknown>[]> {
  return withClient(url, 'latchkey-test', async (client) => (await client.query(statement)).rows, 30_000);
}

export function withDatabase(url: string, name: string): string {
  const address = new URL(url);
  address.pathname = `/${name}`;
  return address.href;
}

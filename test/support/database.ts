/** A migrated database of its own for each test file that asks for one. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { inject } from 'vitest';
import { singleConnection } from '../../src/db/single-connection.ts';

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

/** Without any table, as an operator makes it. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  return create((url, name) => execute(url, `create database ${name}`));
}

async function create(make: (url: string, name: string, run: string) => Promise<void>): Promise<TestDatabase> {
  const { url, run } = inject('testServer');
  const name = `latchkey_test_${run}_${randomBytes(6).toString('hex')}`;
  await make(url, name, run);
  return {
    url: withDatabase(url, name),
    drop: () => execute(url, `drop database if exists ${name} with (force)`),
  };
}

/** The template is busy now and then: PostgreSQL's own housekeeping visits it. */
async function clone(url: string, template: string, name: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await execute(url, `create database ${name} template ${template}`);
    } catch (error) {
      if (attempt === 20 || (error as { code?: string }).code !== objectInUse) throw error;
      await delay(attempt * 20);
    }
  }
}

const objectInUse = '55006';

async function execute(url: string, statement: string): Promise<void> {
  const client = singleConnection(url, 'latchkey-test', 30_000);
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

export function withDatabase(url: string, name: string): string {
  const address = new URL(url);
  address.pathname = `/${name}`;
  return address.href;
}

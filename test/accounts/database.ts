import { type Database, openDatabase } from '../../src/db/database.ts';
import { createTestDatabase } from '../support/database.ts';

export type OpenTestDatabase = { db: Database; close(): Promise<void> };

export async function openTestDatabase(): Promise<OpenTestDatabase> {
  const { url, drop } = await createTestDatabase();
  const { db, close } = openDatabase(url);
  return {
    db,
    async close() {
      await close();
      await drop();
    },
  };
}

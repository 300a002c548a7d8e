/**
 * Who uses the embedded database: everybody holds one shared advisory lock, on a connection of its own that lasts as
 * long as the use. The last is who gets that lock for itself alone.
 */
import type { Client } from 'pg';
import type { Cluster } from './embedded-cluster.ts';
import { singleConnection, withClient } from './single-connection.ts';

/** `lost` settles when the connection ends, for whatever reason. */
export type Enrolment = { client: Client; lost: Promise<void> };

const usersLock = 7_241_936_502;

export function addressOf(cluster: Cluster, port: number, database = 'latchkey'): string {
  return `postgres://latchkey:${cluster.password}@127.0.0.1:${port}/${database}`;
}

/** Connects and takes the users' lock; undefined when the one who has it alone is stopping the server. */
export async function enrol(cluster: Cluster, port: number): Promise<Enrolment | undefined> {
  const client = singleConnection(addressOf(cluster, port), 'latchkey-embedded');
  const lost = new Promise<void>((resolve) => client.once('end', resolve));
  try {
    await client.connect();
    const { rows } = await client.query('select pg_try_advisory_lock_shared($1) as enrolled', [usersLock]);
    if (rows[0]?.enrolled === true) return { client, lost };
  } catch (error) {
    if (!isMissingDatabase(error)) throw error;
    const server = addressOf(cluster, port, 'postgres');
    await withClient(server, 'latchkey-embedded', (other) => other.query('create database latchkey'));
  }
  await client.end();
  return undefined;
}

function isMissingDatabase(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '3D000';
}

/** Gives the lock back and tries for it alone: true when nobody else is there, and nobody can come any more. */
export async function leave(client: Client): Promise<boolean> {
  try {
    await client.query('select pg_advisory_unlock_shared($1)', [usersLock]);
    const { rows } = await client.query('select pg_try_advisory_lock($1) as alone', [usersLock]);
    return rows[0]?.alone === true;
  } catch {
    // It hangs, or somebody stops it already.
    return true;
  }
}

/** A PostgreSQL primary and its streaming standby, made from the embedded programs, as plain processes on loopback. */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Cluster, openCluster } from '../../src/db/embedded-cluster.ts';
import { newDataFolder, removeDataFolder } from './data-folder.ts';
import { queryDatabase } from './database.ts';
import { freePort } from './listen.ts';
import { type Program, startProgram } from './program.ts';

export type PostgresNode = {
  port: number;
  /** The command line's prefix that runs a program as somebody who is not root; empty for everybody else. */
  wrapper: string[];
  query(statement: string): Promise<Record<string, unknown>[]>;
  program: Program;
};

export type PostgresPair = {
  primary: PostgresNode;
  standby: PostgresNode;
  password: string;
  stop(): Promise<void>;
};

/**
 * The primary acknowledges a commit only when the standby has it on its disk: what was acknowledged is not lost with the
 * primary. Database `latchkey` exists and is empty.
 */
export async function startPostgresPair(): Promise<PostgresPair> {
  const dataDir = await newDataFolder();
  const original = await openCluster(dataDir, {});
  // A cluster that was never started is its own base backup.
  const copy = join(dataDir, 'standby');
  await cp(original.folder, copy, { recursive: true, mode: 0 });
  await mkdir(copy, { recursive: true, mode: 0o700 });
  await writeFile(join(copy, 'standby.signal'), '');
  const [port, standbyPort] = [await freePort(), await freePort()];
  const { password } = original;
  const primaryConninfo = `host=127.0.0.1 port=${port} user=latchkey password=${password} application_name=standby`;

  const primary = startNode(original, port, { synchronous_standby_names: 'standby' });
  const standby = startNode({ ...original, folder: copy }, standbyPort, {
    primary_conninfo: primaryConninfo,
    wal_retrieve_retry_interval: '100ms',
  });
  const stop = async () => {
    await Promise.all([primary.program.end('SIGQUIT'), standby.program.end('SIGQUIT')]);
    await removeDataFolder(dataDir);
  };
  try {
    await primary.program.until(isReady(original.folder));
    await standby.program.until(isReady(copy));
    await primary.query('create database latchkey');
  } catch (error) {
    await stop();
    throw error;
  }
  return { primary, standby, password, stop };
}

export function startNode(cluster: Cluster, port: number, own: Record<string, string>): PostgresNode {
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    port: String(port),
    // The machine goes on here, only processes die: then nothing depends on the disk.
    fsync: 'off',
    ...own,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const url = `postgres://latchkey:${cluster.password}@127.0.0.1:${port}/postgres`;
  return {
    port,
    wrapper: cluster.programs.postgres.slice(0, -1),
    program: startProgram([...cluster.programs.postgres, '-D', cluster.folder, ...args]),
    query: (statement) => queryDatabase(url, statement),
  };
}

/** The eighth line says how far it is: `ready` or, for one that follows another and answers readers, `standby`. */
export function isReady(folder: string): () => Promise<boolean> {
  return async () => {
    const text = await readFile(join(folder, 'postmaster.pid'), 'utf8').catch(() => '');
    return /^(ready|standby)/.test(text.split('\n')[7] ?? '');
  };
}

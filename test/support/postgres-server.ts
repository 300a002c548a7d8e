/** A PostgreSQL of the operator's own, whose server process a test may stop, freeze and start again. */
import { openCluster } from '../../src/db/embedded-cluster.ts';
import { newDataFolder, removeDataFolder } from './data-folder.ts';
import { freePort } from './listen.ts';
import { isReady, type PostgresNode, startNode } from './postgres-pair.ts';
import { childrenOf } from './server.ts';

export type PostgresServer = {
  /** Database `latchkey`, empty at first, by a role `app` that owns it and is no superuser. */
  url: string;
  /** A statement of the administrator's, for whom PostgreSQL keeps connections back. */
  query: PostgresNode['query'];
  start(): Promise<void>;
  /** As `pg_ctl stop -m fast`: connections are ended, what is under way is rolled back. */
  stopFast(): Promise<void>;
  /** All its processes stand still, or go on, as when their machine is paused. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  remove(): Promise<void>;
};

export async function startPostgresServer(settings: Record<string, string> = {}): Promise<PostgresServer> {
  const dataDir = await newDataFolder();
  const cluster = await openCluster(dataDir, {});
  const port = await freePort();
  let node: PostgresNode;
  const start = async () => {
    node = startNode(cluster, port, settings);
    await node.program.until(isReady(cluster.folder));
  };
  const signal = async (name: 'SIGSTOP' | 'SIGCONT') => {
    // The children of a process that stands still are all there are.
    const { pid } = node.program;
    for (const one of [pid, ...(await childrenOf(pid))]) process.kill(one, name);
  };
  const server: PostgresServer = {
    url: `postgres://app:app@127.0.0.1:${port}/latchkey`,
    query: (statement) => node.query(statement),
    start,
    stopFast: () => node.program.end('SIGINT'),
    freeze: async () => {
      node.program.signal('SIGSTOP');
      await signal('SIGSTOP');
    },
    thaw: () => signal('SIGCONT'),
    async remove() {
      await signal('SIGCONT').catch(() => {});
      await node.program.end('SIGQUIT');
      await removeDataFolder(dataDir);
    },
  };
  await start();
  await server.query("create role app login password 'app'");
  await server.query('create database latchkey owner app');
  return server;
}

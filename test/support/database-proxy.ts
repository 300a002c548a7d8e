/** A way to the database that can fail as networks and servers do. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { listen } from './listen.ts';

export type DatabaseProxy = {
  /** The database's address by way of the proxy. */
  url: string;
  /** Lets connections through, new ones only: what hangs goes on hanging. */
  open(): Promise<void>;
  /** Cuts all connections; new ones are let through. */
  cut(): void;
  /** Cuts all connections and refuses new ones, as when the server is down. */
  refuse(): Promise<void>;
  /** Nothing is answered any more, neither on open connections nor on new ones, as when a host has vanished. */
  hang(): void;
  close(): Promise<void>;
};

type Connection = { near: Socket; far: Socket | undefined };

/** Starts out refusing. */
export async function createDatabaseProxy(databaseUrl: string): Promise<DatabaseProxy> {
  const target = new URL(databaseUrl);
  const connections = new Set<Connection>();
  let hanging = false;

  const server = createServer((near) => {
    const connection: Connection = { near, far: undefined };
    connections.add(connection);
    near.on('error', () => {}).once('close', () => connections.delete(connection));
    if (hanging) return;
    const far = connect(Number(target.port || 5432), target.hostname);
    connection.far = far;
    far.on('error', () => {});
    near.pipe(far);
    far.pipe(near);
    near.once('close', () => far.destroy());
    far.once('close', () => connection.far && near.destroy());
  });
  const port = await listen(server);

  const cut = () => {
    for (const { near } of connections) near.destroy();
  };
  const refuse = async () => {
    hanging = false;
    cut();
    if (server.listening) await once(server.close(), 'close');
  };
  await refuse();

  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${port}`;
  return {
    url: url.href,
    async open() {
      hanging = false;
      if (!server.listening) await once(server.listen(port, '127.0.0.1'), 'listening');
    },
    cut,
    refuse,
    hang() {
      hanging = true;
      for (const connection of connections) {
        const { far } = connection;
        // Its end is not passed on, and the database itself keeps no lock for it.
        connection.far = undefined;
        far?.unpipe(connection.near);
        far?.destroy();
      }
    },
    close: refuse,
  };
}

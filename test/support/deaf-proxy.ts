/** A way to the database on which notices (LISTEN/NOTIFY) get lost, as they do behind a pooler in transaction mode. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { listen } from './listen.ts';

export type DeafProxy = {
  /** The database's address by way of the proxy. */
  url: string;
  /** Whether notices get lost now. */
  deaf: boolean;
  close(): Promise<void>;
};

export async function startDeafProxy(databaseUrl: string): Promise<DeafProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(target.port || 5432), target.hostname);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket
        .on('error', () => {})
        .once('close', () => {
          sockets.delete(socket);
          other.destroy();
        });
    }
    near.pipe(far);
    far.pipe(withoutNotices(() => proxy.deaf)).pipe(near);
  });
  const port = await listen(server);
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${port}`;
  const proxy: DeafProxy = {
    url: url.href,
    deaf: true,
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
  return proxy;
}

/** Every message of the server is a letter, its length in four bytes, and the rest; a notice is an A. */
function withoutNotices(isDeaf: () => boolean): Transform {
  let rest: Buffer = Buffer.alloc(0);
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 5 && rest.length > rest.readUInt32BE(1)) {
        const length = 1 + rest.readUInt32BE(1);
        if (!(isDeaf() && rest[0] === 0x41)) this.push(rest.subarray(0, length));
        rest = rest.subarray(length);
      }
      done();
    },
  });
}

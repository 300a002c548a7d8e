import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';

export type LoadBalancer = { port: number; origin: string; close(): Promise<void> };

/** Sends each request to the next of the servers in turn, Host unchanged, as a load balancer without stickiness does. */
export async function startLoadBalancer(ports: readonly number[]): Promise<LoadBalancer> {
  let count = 0;
  const server = createServer((req, res) => {
    const port = ports[count++ % ports.length];
    const { method, url, headers } = req;
    const onward = httpRequest({ host: '127.0.0.1', port, method, path: url, headers, agent: false }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(res);
    });
    onward.on('error', () => res.destroy());
    req.pipe(onward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

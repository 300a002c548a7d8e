import { Agent, createServer, request as httpRequest } from 'node:http';
import { endServer, listen } from './listen.ts';

export type LoadBalancer = {
  port: number;
  origin: string;
  /** Resolves when the server at that port gets requests, or gets none any more. */
  sends(port: number, state: boolean): Promise<void>;
  close(): Promise<void>;
};

const probeMs = 50;

/**
 * Sends each request to the next of the servers in turn, Host unchanged, as a load balancer without stickiness does.
 * With `probes` it keeps connections open and asks each server for its readiness all the time: those that say no get
 * nothing. It never tries a request again.
 */
export async function startLoadBalancer(
  ports: readonly number[],
  { probes = false }: { probes?: boolean } = {},
): Promise<LoadBalancer> {
  const ready = new Set(ports);
  const agent = probes ? new Agent({ keepAlive: true }) : false;
  let count = 0;
  const server = createServer((req, res) => {
    const able = ports.filter((port) => ready.has(port));
    const port = able[count++ % able.length];
    const { method, url, headers } = req;
    const onward = httpRequest({ host: '127.0.0.1', port, method, path: url, headers, agent }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(res);
    });
    onward.on('error', () => res.destroy());
    req.pipe(onward);
  });
  const port = await listen(server);
  const probe = async (port: number) => {
    const isReady = await fetch(`http://127.0.0.1:${port}/readyz`).then(
      async (answer) => answer.body?.cancel().then(() => answer.ok),
      () => false,
    );
    if (isReady) ready.add(port);
    else ready.delete(port);
    if (server.listening) setTimeout(probe, probeMs, port);
  };
  if (probes) await Promise.all(ports.map(probe));
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    async sends(to, state) {
      while (ready.has(to) !== state) await new Promise((resolve) => setTimeout(resolve, probeMs));
    },
    async close() {
      const ended = endServer(server);
      if (agent) agent.destroy();
      await ended;
    },
  };
}

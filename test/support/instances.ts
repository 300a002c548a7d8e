import { freePort } from './listen.ts';
import { type LoadBalancer, startLoadBalancer } from './load-balancer.ts';
import { type ServerProcess, sharedSecrets, startServer } from './server.ts';

/** Several servers on one database behind a load balancer, which are one provider. */
export type Instances = {
  origin: string;
  issuer: string;
  balancer: LoadBalancer;
  servers: ServerProcess[];
  /** Starts one in the place of one that has ended. */
  start(port: number): Promise<ServerProcess>;
  stop(): Promise<void>;
};

/** Starts them all at once. With `probes` the load balancer watches their readiness, and every one is ready now. */
export async function startInstances(
  { url }: { url: string },
  { many = 2, probes = false, env = {} }: { many?: number; probes?: boolean; env?: Record<string, string> } = {},
): Promise<Instances> {
  const ports = await Promise.all(Array.from({ length: many }, freePort));
  const balancer = await startLoadBalancer(ports, { probes });
  const variables = { ...sharedSecrets, DATABASE_URL: url, OIDC_ISSUER: balancer.origin, ...env };
  const start = (port: number) => startServer({ env: variables, port });
  const servers = await Promise.all(ports.map(start));
  if (probes) await Promise.all(ports.map((port) => balancer.sends(port, true)));
  return {
    origin: balancer.origin,
    issuer: `${balancer.origin}/oidc`,
    balancer,
    servers,
    start,
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
      await balancer.close();
    },
  };
}

/** Traces for OpenTelemetry, when somebody wants them. Without, its packages are not even loaded. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { StartStatement } from '../db/watch-statements.ts';
import type { TokenRequest } from '../oidc/request-facts.ts';
import type { StartHash } from './watch-bcrypt.ts';

export type TracingConfig = {
  /** `/v1/traces` goes behind it. */
  endpoint: string;
  headers: Readonly<Record<string, string>>;
  serviceName: string;
  /** OpenTelemetry's name of it, such as `parentbased_always_on`. */
  sampler: string;
  /** 0 to 1, for samplers that take a share. */
  ratio: number;
};

export type Tracing = {
  /** Runs `next` in a span of the request, whose name is known once it has been answered. */
  traceRequest(
    req: IncomingMessage,
    res: ServerResponse & { locals: { tokenRequest?: TokenRequest } },
    routeOf: () => string,
    next: (traceId: string) => void,
  ): void;
  /** For `watchStatements`: a span within a request's; what happens in the background makes none. */
  startStatement: StartStatement;
  startHash: StartHash;
  /** The same fetch with a span around, that tells the other side about the trace (W3C Trace Context). */
  fetch(fetch: typeof globalThis.fetch): typeof globalThis.fetch;
  /** Sends what was not sent yet, within a few seconds. */
  close(): Promise<void>;
};

export async function startTracing(config: TracingConfig | undefined, onError: (error: unknown) => void) {
  if (!config) return undefined;
  const { openTelemetry } = await import('./open-telemetry.ts');
  return openTelemetry(config, onError);
}

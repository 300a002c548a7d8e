/**
 * What a connection may take of this process. Whoever sends slowly, or opens connections and sends nothing, is answered
 * 408 or hung up on, and everybody else is served meanwhile.
 */
import type { Server, ServerOptions } from 'node:http';

/** For `createServer`, plain and TLS alike; times in milliseconds. */
export const httpLimits = {
  /** From the connection, or the request before, to the end of the headers. Silence counts. */
  headersTimeout: 10_000,
  /** To the end of the body. */
  requestTimeout: 30_000,
  /** Between two requests: longer than the minute for which load balancers keep a connection, so that they end it. */
  keepAliveTimeout: 65_000,
  /** How late these may be noticed. */
  connectionsCheckingInterval: 1_000,
  /** In bytes. */
  maxHeaderSize: 16 * 1024,
} satisfies ServerOptions;

/** For a TLS handshake, in milliseconds. */
export const handshakeTimeout = 10_000;

const maxConnections = 5_000;
/** Whoever does not read an answer for so long is hung up on. */
const silentMs = 60_000;

/** Limits that are properties of a server. */
export function limitConnections<S extends Server>(server: S): S {
  server.maxConnections = maxConnections;
  server.timeout = silentMs;
  return server;
}

/**
 * The one way out for requests made on a client's behalf (jwks_uri, sector_identifier_uri, back-channel logout, logos).
 * Whoever registers a client chooses the address, so nothing but public addresses is reached: each connection is
 * checked, redirects and changed DNS answers included, whichever code asked for it (SECURITY 38, 39).
 */
import { type LookupAddress, type LookupAllOptions, lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { Agent, buildConnector, RequestInit as UndiciRequestInit } from 'undici';

export type Outbound = {
  /**
   * `fetch` for http and https addresses. Rejects with `OutboundError` when the guard refuses, and ends whatever has not
   * been answered and read completely after the time-out. A `dispatcher` among the options is replaced by ours.
   */
  fetch: typeof globalThis.fetch;
  /** Lets requests under way finish, which takes no longer than the time-out. */
  close(): Promise<void>;
};

type LookupAll = (
  host: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** A request that was not made, or an answer that was not read to its end. The message may be told to whoever asked. */
export class OutboundError extends Error {
  override name = 'OutboundError';
}

/** However a caller reads it, no answer is taken from the wire beyond this. */
const maxAnswerBytes = 1024 * 1024;

/**
 * @param allow host names (lower case), addresses and CIDR ranges that may be reached although they are not public
 * @param timeoutMs for the whole exchange, from the name's resolution to the last byte of the body
 * @param lookup how names become addresses
 */
export function createOutbound({
  allow,
  timeoutMs = 2_500,
  lookup = systemLookup,
}: {
  allow: readonly string[];
  timeoutMs?: number;
  lookup?: LookupAll;
}): Outbound {
  const permit = permission(allow);
  let agent: Agent | undefined;
  let closed = false;

  /** undici is a megabyte of code, which is loaded with the first request that is made. */
  async function load() {
    const undici = await import('undici');
    if (closed) throw new OutboundError('shutting down');
    agent ??= new undici.Agent({
      connect: guardedConnector(undici.buildConnector, { permit, lookup, timeout: timeoutMs }),
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      maxResponseSize: maxAnswerBytes,
    });
    return { fetch: undici.fetch, agent };
  }

  async function guardedFetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    if (input instanceof Request) throw new TypeError('pass an address, not a Request');
    if (!/^https?:/i.test(String(input))) throw new OutboundError(`${String(input)} is not a web address`);
    const { fetch, agent: dispatcher } = await load();
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
    // Both fetches are undici's; only the type declarations differ, in where they come from.
    const options = { ...init, signal, dispatcher } as unknown as UndiciRequestInit;
    try {
      return (await fetch(input, options)) as unknown as Response;
    } catch (error) {
      // fetch hides every reason behind "fetch failed".
      throw error instanceof TypeError && error.cause instanceof OutboundError ? error.cause : error;
    }
  }

  return {
    fetch: guardedFetch,
    async close() {
      closed = true;
      await agent?.close();
    },
  };
}

/** Reads a body of at most `maxBytes`, counted after decompression. Throws `OutboundError` for a longer one. */
export async function readBounded(response: Response, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    // Leaving the loop cancels the body and closes its connection.
    if (size > maxBytes) throw new OutboundError(`the answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Opens connections to permitted addresses only. A name is resolved once, and what was checked is what is connected to. */
function guardedConnector(
  build: typeof buildConnector,
  { permit, lookup, timeout }: { permit: Permit; lookup: LookupAll; timeout: number },
): buildConnector.connector {
  const guardedLookup: LookupFunction = (host, options, callback) => {
    lookup(host, { ...options, all: true }, (error, addresses) => {
      const [first] = addresses ?? [];
      if (error || !first) return callback(error ?? new OutboundError(`${host} has no address`), []);
      const refused = addresses.find(({ address }) => !permit(host, address));
      if (refused) return callback(refusal(host, refused.address), []);
      if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
  const connector = build({ timeout, lookup: guardedLookup } as buildConnector.BuildOptions);

  return (options, callback) => {
    // Sockets look up names only; an address goes to the system as it is.
    const { hostname } = options;
    if (ipaddr.isValid(hostname) && !permit(hostname, hostname)) return callback(refusal(hostname, hostname), null);
    connector(options, callback);
  };
}

type Permit = (host: string, address: string) => boolean;

function permission(allow: readonly string[]): Permit {
  const ranges = allow.filter((entry) => ipaddr.isValid(entry) || ipaddr.isValidCIDR(entry)).map(rangeOf);
  return (host, address) => {
    if (allow.includes(host.toLowerCase())) return true;
    if (!ipaddr.isValid(address)) return false;
    // An IPv4 address in IPv6 clothes (::ffff:127.0.0.1) reaches what the IPv4 address reaches.
    const ip = ipaddr.process(address);
    return rangeName(ip) === 'unicast' || ranges.some(([net, bits]) => net.kind() === ip.kind() && ip.match(net, bits));
  };
}

function rangeOf(entry: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  if (ipaddr.isValidCIDR(entry)) return ipaddr.parseCIDR(entry);
  const ip = ipaddr.process(entry);
  return [ip, ip.kind() === 'ipv4' ? 32 : 128];
}

/** `unicast` is public. Outside 2000::/3 nothing of IPv6 is (RFC 4291 §2.4), which covers `::127.0.0.1` too. */
function rangeName(ip: ipaddr.IPv4 | ipaddr.IPv6): string {
  const name = ip.range();
  if (name !== 'unicast' || ip instanceof ipaddr.IPv4 || ip.match(globalUnicast)) return name;
  return 'reserved';
}

const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

function refusal(host: string, address: string): OutboundError {
  const kind = ipaddr.isValid(address) ? rangeName(ipaddr.process(address)) : 'unknown';
  return new OutboundError(`${host} is not a public address (${kind}); the operator can permit it with OUTBOUND_ALLOW`);
}

import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';

/** What proxies write, and what nobody writes who asks from this machine itself. */
const forwarding = /^(forwarded|via|x-forwarded-.*|x-real-ip|x-original-.*|(true-client|cf-connecting)-ip)$/i;

/**
 * Whether a request was made on this machine and by no proxy on it. It is the connection that tells, and what was really
 * sent: addresses and headers as seen elsewhere are what proxies and the host pinning made of them.
 * @param isProxy Express's `trust proxy fn`: whoever may be a proxy by its address counts as one
 * @param origin the issuer's: a web page elsewhere that has its name point to this machine is refused by the name
 */
export function cameDirectly(
  { socket, rawHeaders }: Pick<IncomingMessage, 'rawHeaders'> & { socket: { remoteAddress?: string | undefined } },
  { isProxy, origin }: { isProxy: (address: string, hop: number) => boolean; origin: string },
): boolean {
  const { remoteAddress = '' } = socket;
  if (!isLoopback(remoteAddress) || isProxy(remoteAddress, 0)) return false;
  const names = rawHeaders.filter((_, index) => index % 2 === 0);
  if (names.some((name) => forwarding.test(name))) return false;
  const host = rawHeaders[2 * names.findIndex((name) => name.toLowerCase() === 'host') + 1];
  return host === undefined || host === new URL(origin).host || isThisMachine(host);
}

function isThisMachine(host: string): boolean {
  if (!URL.canParse(`http://${host}`)) return false;
  const { hostname } = new URL(`http://${host}`);
  return hostname === 'localhost' || isLoopback(hostname.replace(/^\[|\]$/g, ''));
}

function isLoopback(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'loopback';
}

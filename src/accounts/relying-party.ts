import { isIP } from 'node:net';

/** Who passkeys are made for (WebAuthn §4): `id` is the host name that browsers bind them to. */
export type RelyingParty = {
  id: string;
  /** Shown by browsers as they ask. */
  name: string;
  /** The one origin that an answer may come from. */
  origin: string;
};

/**
 * The relying party of a server at `origin`, or undefined where no browser would make a passkey: at an IP address, and
 * on plain http anywhere but localhost.
 */
export function relyingPartyOf(origin: string, name: string): RelyingParty | undefined {
  const { hostname, protocol } = new URL(origin);
  const isLocal = hostname === 'localhost' || hostname.endsWith('.localhost');
  if (isIP(hostname.replace(/^\[|\]$/g, '')) || (protocol !== 'https:' && !isLocal)) return undefined;
  return { id: hostname, name, origin };
}

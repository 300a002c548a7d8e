/**
 * 1. What the Worker is given from outside: `vars`, secrets and one KV namespace (wrangler.jsonc; dev.ts locally).
 */
import type { KVNamespace } from '@cloudflare/workers-types';

export type Env = {
  /** The provider, as it names itself (`iss`). */
  ISSUER: string;
  /** Where people reach this Worker. Said, not read from the request: redirects and the check against forged forms hang on it. */
  ORIGIN: string;
  /** What this API is called at the provider (RFC 8707): the one audience that it accepts. */
  RESOURCE: string;
  CLIENT_ID: string;
  /** Secret: the edge is a server, so it is a confidential client. */
  CLIENT_SECRET: string;
  /** Secret: 32 bytes, base64url. Seals sessions and sign-ins under way; a new one signs everybody out. */
  SESSION_KEY: string;
  KV: KVNamespace;
};

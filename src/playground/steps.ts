import type { SignatureCheck } from '../keys/verify-jwt.ts';
import type { Exchange, Pair } from './exchange.ts';

/** Something a relying party has to check, and how it came out. */
export type Check = { text: string; ok: boolean };

/** What was found out about an ID token (OIDC Core §3.1.3.7). */
export type IdTokenFindings = {
  token: string;
  signature: SignatureCheck;
  /** Claims that had to be checked, and whether they are as they should be. */
  claims: Record<string, boolean>;
};

/** What happened, without a word about it; words.ts says it. */
export type Step =
  | { name: 'discovery'; exchange: Exchange; checks: Check[] }
  | { name: 'authorization-request'; url: string; parameters: Pair[] }
  | { name: 'authorization-response'; url: string; parameters: Pair[]; checks: Check[]; milliseconds: number }
  | { name: 'token'; exchange: Exchange }
  | { name: 'id-token'; keys: Exchange; findings: IdTokenFindings | undefined }
  | { name: 'userinfo'; exchange: Exchange; checks: Check[] }
  | { name: 'refresh'; exchange: Exchange; checks: Check[] }
  | { name: 'no-refresh-token' }
  | { name: 'introspection'; exchange: Exchange }
  | { name: 'revocation'; exchange: Exchange; token: 'access' | 'refresh' }
  | { name: 'logout-request'; url: string; parameters: Pair[] }
  | { name: 'logout-response'; url: string; parameters: Pair[]; checks: Check[] };

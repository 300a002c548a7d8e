/**
 * What one statement of a request read besides what it was asked for: a token comes with the grant, the account and the
 * session that it stands on, as they were at that one moment. The library asks for them one by one, and is answered from
 * here. Nothing outlives its request, each is told once, and whatever writes a grant or a session forgets them all.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Account } from '../accounts/accounts.ts';
import type { FoundArtifact } from './artifact-lookup.ts';
import type { Payload } from './artifacts.ts';

export type Known = {
  /** By its value; all models that it may be of are looked up at once. */
  artifacts: Map<string, Promise<FoundArtifact[]>>;
  grants: Map<string, Payload | undefined>;
  accounts: Map<string, Account | undefined>;
  /** By uid. */
  sessions: Map<string, Payload | undefined>;
  /** By uid, as they were read and when they expire (ms). */
  storedSessions: Map<string, { payload: string; expiresAt: number }>;
  /** The refresh token that is used up in the statement that stores its successor. */
  rotating: string | undefined;
  /** By the grant's id: of what hangs on it, and where `endingGrant` of itself. */
  revocations: Map<string, Promise<unknown>>;
  endingGrant: boolean;
};

export type RequestMemo = {
  /** Of the request under way; undefined outside the library's routes. */
  readonly known: Known | undefined;
  /** Runs a request. What it left running in the background knows nothing any more. */
  during(work: () => Promise<void>): Promise<void>;
};

export function requestMemo(): RequestMemo {
  const requests = new AsyncLocalStorage<{ known: Known | undefined }>();
  return {
    get known() {
      return requests.getStore()?.known;
    },
    async during(work) {
      const request: { known: Known | undefined } = { known: nothingKnown() };
      try {
        await requests.run(request, work);
      } finally {
        request.known = undefined;
      }
    },
  };
}

function nothingKnown(): Known {
  return {
    artifacts: new Map(),
    grants: new Map(),
    accounts: new Map(),
    sessions: new Map(),
    storedSessions: new Map(),
    rotating: undefined,
    revocations: new Map(),
    endingGrant: false,
  };
}

/** What is known under a key, which then it is no more; `ask` is for what is not. Undefined is an answer, too. */
export async function take<T>(
  map: Map<string, T | undefined> | undefined,
  key: string,
  ask: () => Promise<T | undefined>,
): Promise<T | undefined> {
  if (!map?.has(key)) return ask();
  const value = map.get(key);
  map.delete(key);
  return value;
}

/** After a write that may change what was read. */
export function forget(known: Known | undefined): void {
  for (const map of known
    ? [known.artifacts, known.grants, known.accounts, known.sessions, known.storedSessions]
    : []) {
    map.clear();
  }
}

/**
 * The playground: a small relying party inside the server, which runs real flows over HTTP against the public endpoints
 * and writes down every step. It knows no more than any app does; nothing here reads the provider's own storage.
 *
 * A run is what a relying party remembers of one sign-in. It is kept in the database, encrypted, for an hour, under an
 * id that only the browser holds.
 */
import { and, eq, gt } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { playgroundRuns } from '../db/schema.ts';
import { DecryptionError, type Encryption } from '../keys/encryption.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';
import type { Endpoints } from './discovery.ts';
import type { Step } from './steps.ts';

export const runSeconds = 60 * 60;

export type Tokens = { access: string; refresh: string | undefined; id: string };

export type Run = {
  /** Epoch milliseconds. */
  startedAt: number;
  /** `waiting` for the person; `redeeming` the code, which one request alone may do; `finished` either way. */
  stage: 'waiting' | 'redeeming' | 'finished';
  endpoints: Endpoints | undefined;
  request: { state: string; nonce: string; codeVerifier: string };
  tokens: Tokens | undefined;
  /** The `state` of a sign-out under way. */
  logoutState: string | undefined;
  steps: Step[];
};

/** Everything can be tried many times, and the page stays a page. */
const maxSteps = 60;

export function isFull({ steps }: Run): boolean {
  return steps.length >= maxSteps;
}

const purpose = (idHash: string) => `playground-run:${idHash}`;

/** Stores a new run and returns its id, a secret of 256 bits. */
export async function createRun(db: Database, encryption: Encryption, run: Run): Promise<string> {
  const now = Date.now();
  const id = randomToken();
  const idHash = sha256(id);
  await db.insert(playgroundRuns).values({
    idHash,
    payloadEncrypted: encryption.encrypt(JSON.stringify(run), purpose(idHash)),
    expiresAt: new Date(now + runSeconds * 1000),
  });
  return id;
}

/** The run, unless it has expired or was sealed with a key that is gone. */
export async function findRun(db: Database, encryption: Encryption, id: string): Promise<Run | undefined> {
  const idHash = sha256(id);
  const [row] = await db.select().from(playgroundRuns).where(live(idHash));
  return row && open(encryption, row);
}

/**
 * Changes a run; two changes at once take turns. `change` must not wait for anything but its own sums. Undefined, and
 * nothing is stored, when there is no such run or `change` says so.
 */
export async function changeRun(
  db: Database,
  encryption: Encryption,
  id: string,
  change: (run: Run) => Run | undefined,
): Promise<Run | undefined> {
  const idHash = sha256(id);
  return db.transaction(async (tx) => {
    const [row] = await tx.select().from(playgroundRuns).where(live(idHash)).for('update');
    const run = row && open(encryption, row);
    const changed = run && change(run);
    if (!changed) return undefined;
    const payloadEncrypted = encryption.encrypt(JSON.stringify(changed), purpose(idHash));
    await tx.update(playgroundRuns).set({ payloadEncrypted }).where(eq(playgroundRuns.idHash, idHash));
    return changed;
  });
}

export async function deleteRun(db: Database, id: string): Promise<void> {
  await db.delete(playgroundRuns).where(eq(playgroundRuns.idHash, sha256(id)));
}

function live(idHash: string) {
  return and(eq(playgroundRuns.idHash, idHash), gt(playgroundRuns.expiresAt, new Date()));
}

function open(encryption: Encryption, row: { idHash: string; payloadEncrypted: string }): Run | undefined {
  try {
    return JSON.parse(encryption.decrypt(row.payloadEncrypted, purpose(row.idHash))) as Run;
  } catch (error) {
    if (error instanceof DecryptionError) return undefined;
    throw error;
  }
}

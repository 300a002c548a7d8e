import { createCached } from '../db/cached.ts';
import type { Database } from '../db/database.ts';
import type { Notices } from '../db/notices.ts';
import { type Client, findClient } from './clients.ts';
import { isGone } from './unused-clients.ts';

/** A client as it is for requests of the protocol. Nobody may change what it answers: it is frozen. */
export type ClientDirectory = (clientId: string) => Promise<Client | undefined>;

/** Clients that ask all the time; more only mean that some are looked up again. */
const most = 2_000;
/** Of metadata, in characters: strangers may register four times as much, to fill the memory. */
const longest = 16 * 1024;

/** The same as `findClient`, from memory, where a change of a client is known at once (db/notices.ts). */
export function createClientDirectory({ db, notices }: { db: Database; notices: Notices }): ClientDirectory {
  const known = createCached({
    notices,
    table: 'oidc_clients',
    load: (clientId) => findClient(db, clientId),
    max: most,
    worthKeeping: ({ metadata }) => JSON.stringify(metadata).length <= longest,
  });
  return async (clientId) => {
    const client = await known.get(clientId);
    return client && !isGone(client) ? client : undefined;
  };
}

/** Notices that this process itself writes to a table of which processes keep parts in memory (notices.ts). */
import type { Pool } from 'pg';

/** Triggers of the migrations send a notice of every change in these. */
export const noticedTables = [
  'oidc_clients',
  'apis',
  'client_apis',
  'token_exchange_permissions',
  'authorization_details_types',
  'signing_keys',
] as const;

export type NoticedTable = (typeof noticedTables)[number];

/** A new client changes nothing that is remembered: that there is none is not. */
const write = new RegExp(
  String.raw`^\s*(?!insert into "oidc_clients")(?:insert into|update|delete from|truncate)\s+"?(?:${noticedTables.join('|')})\b`,
  'i',
);

export type OwnWrites = {
  /** `listener` is told after each change, once it can be read by everybody and before its writer goes on. */
  subscribe(listener: () => void): void;
  /** For the statements of one transaction: tell it each of them, and in the end that it is over. */
  transaction(): { logQuery(text: string): void; over(): void };
};

/** Watches statements that go to the pool itself; those of a transaction have to be told. */
export function watchOwnWrites(pool: Pool): OwnWrites {
  const listeners: (() => void)[] = [];
  const tell = () => {
    for (const listener of listeners) listener();
  };
  const query = pool.query.bind(pool) as (...args: unknown[]) => Promise<unknown> | undefined;
  pool.query = ((...args: unknown[]) => {
    const done = query(...args);
    const text = typeof args[0] === 'string' ? args[0] : (args[0] as { text?: string } | undefined)?.text;
    // Also when it failed: an answer may be lost after the change was made.
    if (text !== undefined && write.test(text)) void done?.then(tell, tell);
    return done;
  }) as typeof pool.query;
  return {
    subscribe: (listener) => void listeners.push(listener),
    transaction() {
      let written = false;
      return {
        logQuery(text) {
          written ||= write.test(text);
        },
        over: () => written && tell(),
      };
    },
  };
}

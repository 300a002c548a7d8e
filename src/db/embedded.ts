/**
 * The embedded PostgreSQL, for an installation without DATABASE_URL. A server, and every command of the operator's
 * beside it, joins the one database of its data folder; whoever comes first starts it and whoever leaves last stops it,
 * whoever that was. So nobody stops it under another. A killed user has left by being killed, and when all were killed
 * the next to come finds the database running and takes it over.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { type Cluster, openCluster } from './embedded-cluster.ts';
import { findPostmaster, type Postmaster, startPostmaster, stopPostmaster } from './embedded-postmaster.ts';
import { EmbeddedError, wayOut } from './embedded-programs.ts';
import { addressOf, type Enrolment, enrol, leave } from './embedded-users.ts';
import { answerMs } from './single-connection.ts';

export { EmbeddedError } from './embedded-programs.ts';
export { lockServer, type ServerLock } from './server-lock.ts';

export type Embedded = {
  /** The address of the database, good until `stop`, also when the database was restarted meanwhile. */
  url: string;
  /** True when the database was running already. */
  adopted: boolean;
  /** Leaves the database, and stops it when nobody else uses it. Close your own connections first. */
  stop(): Promise<void>;
};

type Log = { info(message: string): void; warn(message: string): void };

type Membership = Enrolment & { port: number; adopted: boolean };

const joinMs = 20_000;
const retryMs = 50;
/** A database that dies within this time of its start is started again after a pause as long. */
const soonMs = 500;
const pollMs = 10;

/**
 * Joins the database in `<dataDir>/postgres`, made and started when need be. When it dies it is started again on the
 * same port until `stop`. `settings` are PostgreSQL's own, by name (tests trade durability for speed). `signal` gives up
 * waiting, for a recovery above all.
 * @throws {EmbeddedError} when it cannot run, in one sentence for the operator
 */
export async function startEmbedded(options: {
  dataDir: string;
  log: Log;
  settings?: Record<string, string>;
  signal?: AbortSignal;
}): Promise<Embedded> {
  const { log } = options;
  const cluster = await openCluster(options.dataDir, options.settings ?? {});
  const stopping = new AbortController();
  const signal = AbortSignal.any([stopping.signal, ...(options.signal ? [options.signal] : [])]);
  let membership: Membership | undefined;
  let rejoining: Promise<void> | undefined;
  let stopped: Promise<void> | undefined;

  const enter = async (port?: number): Promise<Membership> => {
    const joined = await join(cluster, port, signal);
    const since = Date.now();
    membership = joined;
    joined.lost.then(() => {
      membership = undefined;
      if (!signal.aborted) rejoining = rejoin(joined.port, Date.now() - since < soonMs ? soonMs : 0);
    });
    return joined;
  };

  const rejoin = async (port: number, pauseMs: number): Promise<void> => {
    log.warn('The embedded PostgreSQL is gone; it is started again.');
    for (let wait = pauseMs; !signal.aborted; wait = Math.min(wait * 2 + 100, 5_000)) {
      try {
        await delay(wait, undefined, { signal });
        await enter(port);
        log.info('The embedded PostgreSQL is back.');
        return;
      } catch (error) {
        if (!signal.aborted) log.warn(messageOf(error));
      }
    }
  };

  const stop = async (): Promise<void> => {
    stopping.abort();
    await rejoining;
    const client = membership?.client ?? (await reach(cluster));
    if (client && (await leave(client))) await stopPostmaster(cluster);
    await client?.end();
  };

  const first = await enter().catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    url: addressOf(cluster, first.port),
    adopted: first.adopted,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** Finds the database or starts it, as often as others get in between, and becomes one of its users. */
async function join(cluster: Cluster, port: number | undefined, signal: AbortSignal): Promise<Membership> {
  let problem = 'it does not become ready';
  let adopted = true;
  for (const end = Date.now() + joinMs; Date.now() < end; await delay(retryMs, undefined, { signal })) {
    signal.throwIfAborted();
    let postmaster = await awaitReady(cluster, signal);
    if (!postmaster) {
      postmaster = await startPostmaster(cluster, port, signal);
      if (!postmaster) continue;
      adopted = false;
    }
    if (port !== undefined && postmaster.port !== port) {
      problem = `another process has started it on port ${postmaster.port}, this one needs it on ${port}`;
      continue;
    }
    try {
      const user = await enrol(cluster, postmaster.port);
      if (user) return { ...user, port: postmaster.port, adopted };
    } catch (error) {
      problem = messageOf(error);
      if (isRefused(error)) break;
    }
  }
  if (!adopted) await stopPostmaster(cluster);
  throw new EmbeddedError(`The embedded PostgreSQL cannot be used (${problem}): ${wayOut}.`);
}

/** Waits while the server is starting or stopping. Recovery after a crash takes as long as it takes. */
async function awaitReady(cluster: Cluster, signal: AbortSignal): Promise<Postmaster | undefined> {
  for (;;) {
    const postmaster = await findPostmaster(cluster);
    if (!postmaster || postmaster.ready) return postmaster;
    await delay(pollMs, undefined, { signal });
  }
}

/** A last connection for one who lost his own; undefined when there is no server to talk to. */
async function reach(cluster: Cluster): Promise<Client | undefined> {
  try {
    const postmaster = await awaitReady(cluster, AbortSignal.timeout(answerMs));
    return postmaster && (await enrol(cluster, postmaster.port))?.client;
  } catch {
    return undefined;
  }
}

/** A wrong password does not become right. */
function isRefused(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '28P01';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

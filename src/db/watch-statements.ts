import type { Pool, PoolClient } from 'pg';

/** Called where a statement is sent, with its text; its answer is called once, with the error if there was one. */
export type StartStatement = (text: string) => (error?: unknown) => void;

type Query = (...args: unknown[]) => unknown;

/**
 * Tells `start` of each statement on `pool`, its own and those of transactions, at the place that asked for it: a connection
 * is handed from one request to the next, and what comes of it would else be told of the wrong one.
 */
export function watchStatements(pool: Pool, start: StartStatement): void {
  const query = pool.query.bind(pool) as Query;
  pool.query = watched(query, start) as Pool['query'];
  const connect = pool.connect.bind(pool);
  const watchedConnect = (callback?: Parameters<typeof connect>[0]) => {
    // With a callback it is the pool itself that connects, for a statement that is told of already.
    if (callback) return connect(callback);
    return connect().then((client) => watchUntilRelease(client, start));
  };
  pool.connect = watchedConnect as Pool['connect'];
}

function watchUntilRelease(client: PoolClient, start: StartStatement): PoolClient {
  const { query, release } = client;
  client.query = watched(query.bind(client) as Query, start) as PoolClient['query'];
  client.release = (error) => {
    client.query = query;
    release.call(client, error);
  };
  return client;
}

/** Of its three ways to answer, statements of ours use promises; a stream or a callback goes through untold. */
function watched(query: Query, start: StartStatement): Query {
  return (...args) => {
    const text = textOf(args[0]);
    if (text === undefined || args.some((arg) => typeof arg === 'function')) return query(...args);
    const end = start(text);
    const answer = query(...args) as Promise<unknown>;
    answer.then(
      () => end(),
      (error: unknown) => end(error),
    );
    return answer;
  };
}

function textOf(statement: unknown): string | undefined {
  if (typeof statement === 'string') return statement;
  if (typeof statement !== 'object' || statement === null || 'submit' in statement) return undefined;
  return 'text' in statement && typeof statement.text === 'string' ? statement.text : undefined;
}

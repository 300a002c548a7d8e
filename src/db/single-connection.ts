import { Client } from 'pg';

/** Longer, and the server at the other end hangs. */
export const answerMs = 5_000;

/**
 * A connection outside the pool, for a lock that lasts as long as the connection. Not connected yet. When it breaks the
 * process goes on: whoever cares listens for `end`, which comes after every failure too.
 */
export function singleConnection(connectionString: string, name: string, queryTimeoutMs = answerMs): Client {
  const client = new Client({
    connectionString,
    connectionTimeoutMillis: answerMs,
    query_timeout: queryTimeoutMs,
    application_name: name,
  });
  client.on('error', () => {});
  return client;
}

/** Runs `work` on such a connection, which it has to itself. */
export async function withClient<T>(
  url: string,
  name: string,
  work: (client: Client) => Promise<T>,
  queryTimeoutMs?: number,
): Promise<T> {
  const client = singleConnection(url, name, queryTimeoutMs);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
  }
}

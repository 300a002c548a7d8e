import { Pool, type PoolClient } from 'pg';

/** Too many requests wait for a connection already: try again in a moment (HTTP 503). */
export class BusyPoolError extends Error {
  override name = 'BusyPoolError';
}

/** With statements of 100 ms the last one in the queue waits five seconds, as long as anybody may. */
const waitingPerConnection = 50;

type Done = (release?: unknown) => void;
type Callback = (error: Error | undefined, client: PoolClient | undefined, done: Done) => void;

/**
 * A pool whose queue has an end: a database that is slower than its requests then costs some of them an answer at once,
 * and not all of them five seconds. `pg` has every statement and transaction pass through `connect`.
 *
 * PostgreSQL's own time-outs among the options (`statement_timeout` and so on) are parameters of a connection's start,
 * and PgBouncer refuses those it does not know. Then the pool goes on without them.
 */
export class BoundedPool extends Pool {
  override connect(): Promise<PoolClient>;
  override connect(callback: Callback): void;
  override connect(callback?: Callback): Promise<PoolClient> | undefined {
    if (!callback) {
      return new Promise((resolve, reject) => {
        this.#connect((error, client) => (client ? resolve(client) : reject(error)));
      });
    }
    this.#connect(callback);
    return undefined;
  }

  #connect(callback: Callback, mayRetry = true): void {
    if (this.waitingCount >= this.options.max * waitingPerConnection) {
      callback(new BusyPoolError(`${this.waitingCount} wait for a database connection`), undefined, () => {});
      return;
    }
    super.connect((error, client, done) => {
      if (!mayRetry || !error || !/unsupported startup parameter/i.test(error.message)) {
        callback(error, client, done);
        return;
      }
      Object.assign(this.options, withoutServerTimeouts);
      this.#connect(callback, false);
    });
  }
}

/** `false` leaves the parameter out. */
const withoutServerTimeouts = {
  statement_timeout: false,
  lock_timeout: false,
  idle_in_transaction_session_timeout: false,
};

import { type Bcrypt, type BcryptPool, BusyError } from '../lib/bcrypt-pool.ts';

/** Called where a hash begins; its answer is called with what came of it. */
export type StartHash = (operation: 'hash' | 'compare' | 'derive') => (outcome: 'done' | 'refused' | 'failed') => void;

/** The same pool, with every hash told to each of `starts`. */
export function watchBcrypt(pool: BcryptPool, starts: readonly StartHash[]): BcryptPool {
  async function timed<T>(operation: Parameters<StartHash>[0], work: () => Promise<T>): Promise<T> {
    const ends = starts.map((start) => start(operation));
    const end = (outcome: Parameters<ReturnType<StartHash>>[0]) => {
      for (const tell of ends) tell(outcome);
    };
    try {
      const answer = await work();
      end('done');
      return answer;
    } catch (error) {
      end(error instanceof BusyError ? 'refused' : 'failed');
      throw error;
    }
  }

  const watched = (bcrypt: Bcrypt): Bcrypt => ({
    rounds: bcrypt.rounds,
    hash: (text) => timed('hash', () => bcrypt.hash(text)),
    compare: (text, hash) => timed('compare', () => bcrypt.compare(text, hash)),
    derive: (text, derivation) => timed('derive', () => bcrypt.derive(text, derivation)),
  });
  return { ...watched(pool), lane: (name) => watched(pool.lane(name)), close: () => pool.close() };
}

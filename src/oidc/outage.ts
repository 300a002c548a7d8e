import { isUnavailable } from '../db/database.ts';
import { BusyError } from '../lib/bcrypt-pool.ts';

/**
 * Gives an error that means "not now" the status 503, which the library then answers with; without one it answers 500.
 * Whatever the library calls of ours goes through here.
 */
export async function markOutage<T>(work: T | Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (isUnavailable(error) || error instanceof BusyError) {
      Object.assign(error as Error, { statusCode: 503, status: 503 });
    }
    throw error;
  }
}

/**
 * Asks a service whether a password is known from leaks, without telling it: the service gets the first five of forty
 * digits of its SHA-1 and answers with the rest of all it knows that begin so (k-anonymity, as Have I Been Pwned has it).
 */
import { createHash } from 'node:crypto';
import { readBounded } from '../http/outbound.ts';

export type BreachedPasswords = {
  /** False also when the service does not answer: a password is not refused for that. */
  breached(password: string): Promise<boolean>;
};

/** The configured check, with its service where it has one. */
export function passwordCheckOf(
  {
    passwordCheck,
    passwordRangeUrl: url,
  }: { passwordCheck: 'length' | 'common' | 'breached'; passwordRangeUrl: string },
  fetch: typeof globalThis.fetch,
  log: { warn(facts: object, message: string): void },
): 'length' | 'common' | BreachedPasswords {
  if (passwordCheck !== 'breached') return passwordCheck;
  return breachedPasswords({ url, fetch, warn: (facts, message) => log.warn(facts, message) });
}

/** People wait for it. */
const patienceMs = 1_500;
const longestAnswer = 512 * 1024;

/**
 * @param url the five digits are put behind it
 * @param fetch the guarded one, which reaches private addresses only where the operator says so
 * @param warn told when the service could not be asked
 */
function breachedPasswords({
  url,
  fetch,
  warn,
}: {
  url: string;
  fetch: typeof globalThis.fetch;
  warn(facts: Record<string, unknown>, message: string): void;
}): BreachedPasswords {
  return {
    async breached(password) {
      const digest = createHash('sha1').update(password).digest('hex').toUpperCase();
      try {
        const response = await fetch(url + digest.slice(0, 5), {
          // Padding hides from the network how many there are; its lines have a count of 0.
          headers: { 'add-padding': 'true', 'user-agent': 'Latchkey' },
          redirect: 'error',
          signal: AbortSignal.timeout(patienceMs),
        });
        if (!response.ok) {
          await response.body?.cancel();
          throw new Error(`the service answered ${response.status}`);
        }
        const lines = (await readBounded(response, longestAnswer)).toString('latin1').split(/\r?\n/);
        const known = lines.find((line) => line.toUpperCase().startsWith(`${digest.slice(5)}:`));
        return known !== undefined && Number(known.slice(known.indexOf(':') + 1)) > 0;
      } catch (err) {
        warn({ err }, 'a new password was not compared with leaked ones (PASSWORD_RANGE_URL)');
        return false;
      }
    },
  };
}

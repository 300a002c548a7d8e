/** A step of the story: what it does is run, and what it said and found is shown, also when it fails. */
import { problemOf } from './problems.ts';
import { showStep } from './trace.ts';
import { type Exchange, type Pair, takeExchanges, withoutSecrets } from './wire.ts';
import type { StepName } from './words.ts';

export type Seen = {
  exchanges: Exchange[];
  /** What this app looked at and found as it has to be. */
  checks: string[];
  /** An address that the browser was sent to, as opposed to a request of this page. */
  redirect?: { url: string; parameters: Pair[] };
  /** Of the ID token. */
  claims?: Readonly<Record<string, unknown>>;
  facts?: Readonly<Record<string, unknown>>;
  problem?: string;
  address(url: URL): void;
};

export async function step<T>(name: StepName, work: (seen: Seen) => T | Promise<T>): Promise<T> {
  const seen: Seen = {
    exchanges: [],
    checks: [],
    address(url) {
      seen.redirect = { url: `${url.origin}${url.pathname}`, parameters: withoutSecrets([...url.searchParams]) };
    },
  };
  try {
    return await work(seen);
  } catch (error) {
    const { title, text } = problemOf(error);
    seen.problem = `${title} ${text}`;
    throw error;
  } finally {
    seen.exchanges = takeExchanges();
    showStep(name, seen);
  }
}

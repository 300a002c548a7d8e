/**
 * The one policy for whatever can be tried again and again: passwords, second factors, links, codes, mails asked for.
 * Tries are counted per account and per source before they are judged, so that parallel ones cannot slip past a limit.
 * Too many slow down: a pause, then fewer tries and a longer pause, never a lock. A browser that is known for the
 * account has counts of its own, which nobody else can use up (SECURITY 51, 52).
 */
import { type Database, isUnavailable } from '../db/database.ts';
import { addressKey } from '../http/rate-limit.ts';
import { BusyError } from '../lib/bcrypt-pool.ts';
import { type Counter, countTry, forgetTries, type Limit, takeTryBack } from './attempt-counts.ts';
import { createTurns } from './turns.ts';

/**
 * What is tried. All that takes a password (sign-in, change, confirmation) is `password`; authenticator and recovery
 * codes are both `second-factor`. Both kinds of `…-mail` are requests for a mail, each of which counts.
 */
export type AttemptKind =
  | 'password'
  | 'second-factor'
  | 'passkey'
  | 'device-code'
  | 'link'
  | 'reset-mail'
  | 'verification-mail';

export type Attempter = {
  /**
   * The account's id or, where people type an address (`password`, `reset-mail`), that address as `normalizeEmail` has it:
   * then those without an account are counted alike (SECURITY 49, 50). Absent while nobody knows whose try it is.
   */
  account?: string | undefined;
  /** `req.ip`, which knows the trusted proxies. */
  address: string | undefined;
  /** From `findKnownDevice`: counted by itself, and never held up by others at the same address. */
  knownDevice?: string | undefined;
};

export type Throttled = { outcome: 'throttled'; retryAfterSeconds: number };

export type Judged<T> =
  | { outcome: 'right'; value: T }
  /** `startsPause`: it was the last one for a while for this account, in this browser or in all unknown ones. */
  | { outcome: 'wrong'; startsPause: boolean }
  /** Not judged at all: right and wrong look alike now. Answer 429 with `Retry-After`. */
  | Throttled;

/** `enough`: answer as if it was counted and send nothing, the latest mail is still good. */
export type Spent = { outcome: 'counted' } | { outcome: 'enough' } | Throttled;

export type Attempts = ReturnType<typeof createAttempts>;

const minutes = 60;
const hours = 60 * minutes;
const quarter = { pauseSeconds: 15 * minutes, longestPauseSeconds: 15 * minutes, memorySeconds: 15 * minutes };

type Policy = {
  account?: Limit;
  /** Of one account from one source, so that nobody alone can use up what `account` allows. */
  accountFromSource?: Limit;
  source: Limit;
  /** Right ones, too, leave the account's count as it is, less themselves: whoever tries can make right ones. */
  rightProvesNothing?: true;
};

/** Many people share an address, so a source may fail often, and is forgotten however steadily it goes on. */
const sharedSource: Limit = {
  most: 300,
  thenMost: 60,
  pauseSeconds: 15 * minutes,
  longestPauseSeconds: hours,
  memorySeconds: 3 * hours,
  fixed: true,
};

/** So many mails to one account, then none while the latest link is young: it must live longer than `quarter`. */
const mails: Policy = {
  accountFromSource: { ...quarter, most: 3, thenMost: 3 },
  account: { ...quarter, most: 10, thenMost: 10 },
  source: { ...quarter, most: 30, thenMost: 10, longestPauseSeconds: hours, memorySeconds: 3 * hours, fixed: true },
};

const policies: Record<AttemptKind, Policy> = {
  password: {
    account: {
      most: 30,
      thenMost: 10,
      pauseSeconds: 15 * minutes,
      longestPauseSeconds: hours,
      memorySeconds: 24 * hours,
    },
    source: sharedSource,
  },
  // One in 300 000 guesses is right: some 30 a day.
  'second-factor': {
    account: {
      most: 10,
      thenMost: 5,
      pauseSeconds: 15 * minutes,
      longestPauseSeconds: 4 * hours,
      memorySeconds: 24 * hours,
    },
    source: sharedSource,
  },
  // Nobody guesses a signature: a count of the account would only let strangers hold its owner up.
  passkey: { source: sharedSource },
  // RFC 8628 §5.1. Eight letters of twenty live for minutes, so the count need not.
  'device-code': {
    account: { ...quarter, most: 20, thenMost: 20, fixed: true },
    source: { ...quarter, most: 20, thenMost: 20, fixed: true },
    rightProvesNothing: true,
  },
  link: {
    source: { ...quarter, most: 60, thenMost: 20, longestPauseSeconds: hours, memorySeconds: 3 * hours, fixed: true },
  },
  'reset-mail': mails,
  'verification-mail': mails,
};

/** So that many right tries at once, each counted before it is judged, do not look like a row of wrong ones. */
const attemptsAtOnce = 4;

type Owner = 'account' | 'source';
type CounterOf = { counter: Counter; of: Owner };
type Count = CounterOf & { startedPause: boolean };

/** `db` is the pool and not a transaction: a try counts whatever becomes of the work around it. */
export function createAttempts(db: Database) {
  const inTurn = createTurns(attemptsAtOnce);

  /**
   * Judges one try by `work`, which answers what is right or undefined for what is wrong. When `work` throws it counts
   * as wrong, unless it could not be judged at all (`BusyError`, database away).
   */
  async function judge<T>(kind: AttemptKind, who: Attempter, work: () => Promise<T | undefined>): Promise<Judged<T>> {
    const counters = countersOf(kind, who);
    return inTurn(counters[0]?.counter.key ?? '', async () => {
      const { counted, stopped } = await countAll(counters);
      if (stopped) return stopped.answer;
      try {
        const value = await work();
        if (value === undefined) {
          return {
            outcome: 'wrong',
            startsPause: counted.some(({ of, startedPause }) => of === 'account' && startedPause),
          };
        }
        await settle(counted, policies[kind]);
        return { outcome: 'right', value };
      } catch (error) {
        if (error instanceof BusyError || isUnavailable(error)) await takeBack(counted).catch(() => {});
        throw error;
      }
    });
  }

  /** Counts a request for a mail, which has no right or wrong. */
  async function spend(kind: 'reset-mail' | 'verification-mail', who: Attempter): Promise<Spent> {
    const { stopped } = await countAll(countersOf(kind, who));
    if (!stopped) return { outcome: 'counted' };
    return stopped.by === 'account' ? { outcome: 'enough' } : stopped.answer;
  }

  /** Counts one try everywhere. The first count that is paused stops it, and what was counted before is taken back. */
  async function countAll(
    counters: CounterOf[],
  ): Promise<{ counted: Count[]; stopped?: { by: Owner; answer: Throttled } }> {
    const counted: Count[] = [];
    for (const { counter, of } of counters) {
      const result = await countTry(db, counter, new Date());
      if (result.outcome === 'paused') {
        await takeBack(counted);
        const answer = { outcome: 'throttled' as const, retryAfterSeconds: result.retryAfterSeconds };
        return { counted: [], stopped: { by: of, answer } };
      }
      counted.push({ counter, of, startedPause: result.startedPause });
    }
    return { counted };
  }

  /** A right one ends the account's row; a source goes on being counted, else it could reset itself with an own account. */
  async function settle(counted: Count[], { rightProvesNothing }: Policy): Promise<void> {
    for (const { counter, of, startedPause } of counted) {
      if (of === 'account' && !rightProvesNothing) await forgetTries(db, counter);
      else await takeTryBack(db, counter, startedPause);
    }
  }

  async function takeBack(counted: Count[]): Promise<void> {
    for (const { counter, startedPause } of counted) await takeTryBack(db, counter, startedPause);
  }

  return { judge, spend };
}

/** What a try counts for: the account's browser if it is known, else the account and the source. */
function countersOf(kind: AttemptKind, { account, address, knownDevice }: Attempter): CounterOf[] {
  const policy = policies[kind];
  const from = `source:${addressKey(address)}`;
  const ofSource: CounterOf = { of: 'source', counter: { kind, key: `tries:${kind}:${from}`, limit: policy.source } };
  if (account === undefined || !policy.account) return [ofSource];
  const ofAccount = (limit: Limit, part: string): CounterOf => {
    const counter = { kind, key: accountKey(kind, account, part), subject: subjectOf(account), limit };
    return { of: 'account', counter };
  };
  if (knownDevice !== undefined) return [ofAccount(policy.account, `device:${knownDevice}`)];
  const { accountFromSource } = policy;
  return [
    ...(accountFromSource ? [ofAccount(accountFromSource, from)] : []),
    ofAccount(policy.account, anywhere),
    ofSource,
  ];
}

const anywhere = 'anywhere';

/** `part`: which of the account's counters, by itself the one of all unknown browsers. */
export function accountKey(kind: AttemptKind, account: string, part = anywhere): string {
  return `tries:${kind}:${part}:${subjectOf(account)}`;
}

/** What an account's counters are found by, see `Attempter.account`. */
export function subjectOf(account: string): string {
  return `account:${account}`;
}

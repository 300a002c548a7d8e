import type { Request, RequestHandler, Response } from 'express';
import { ipKeyGenerator, rateLimit as limiter, type Options, type Store } from 'express-rate-limit';
import type { Database } from '../db/database.ts';
import { tooManyRequests } from './errors.ts';
import { clearHits, countHit, uncountHit } from './throttle.ts';

const windowSeconds = 60;

/** Makes a limit of `perMinute` requests per address, counted in the database under `name`. */
export type RateLimit = (name: string, perMinute: number) => RequestHandler;

export function rateLimits(db: Database): RateLimit {
  return (name, perMinute) => limiter({ ...common, limit: perMinute, store: databaseStore(db, name) });
}

/**
 * The same, counted in this process's memory: for endpoints that programs call all the time, where a statement per
 * request would cost more than it protects. `failuresOnly` counts refused authentications (401) and nothing else.
 */
export function memoryRateLimit(perMinute: number, options: { failuresOnly?: boolean } = {}): RequestHandler {
  return limiter({
    ...common,
    limit: perMinute,
    ...(options.failuresOnly && {
      skipSuccessfulRequests: true,
      requestWasSuccessful: (_req: Request, res: Response) => res.statusCode !== 401,
    }),
  });
}

/** The same caller, for limits that are counted elsewhere. */
export function addressKey(address: string | undefined): string {
  return ipKeyGenerator(address ?? '');
}

const common: Partial<Options> = {
  windowMs: windowSeconds * 1000,
  standardHeaders: false,
  legacyHeaders: false,
  // `req.ip` follows `trust proxy`, so a forged X-Forwarded-For counts for nothing; an IPv6 caller is its /56.
  // Worked out once for all limits of a request.
  keyGenerator: (req, { locals }) => {
    locals.rateLimitKey ??= ipKeyGenerator(req.ip ?? '');
    return locals.rateLimitKey as string;
  },
  handler: (req, _res, next) => {
    const { resetTime } = (req as Request & { rateLimit: { resetTime?: Date } }).rateLimit;
    const seconds = Math.ceil(((resetTime?.getTime() ?? 0) - Date.now()) / 1000);
    next(tooManyRequests(Math.min(Math.max(seconds, 1), windowSeconds)));
  },
};

function databaseStore(db: Database, name: string): Store {
  const keyOf = (address: string) => `rate:${name}:${address}`;
  return {
    prefix: name,
    increment: async (address) => {
      const { hits, resetAt } = await countHit(db, keyOf(address), windowSeconds);
      return { totalHits: hits, resetTime: resetAt };
    },
    decrement: (address) => uncountHit(db, keyOf(address)),
    resetKey: (address) => clearHits(db, keyOf(address)),
  };
}

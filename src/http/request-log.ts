import { randomBytes } from 'node:crypto';
import type { RequestHandler, Response } from 'express';
import type { Logger } from 'pino';

/** Letters and digits that are hard to mix up when read out on the phone. */
const alphabet = '23456789ABCDEFGHJKMNPQRSTVWXYZ';
const idLength = 10;

/** The reference a person can quote, which the log carries too. */
export function requestId(res: Pick<Response, 'locals'>): string {
  return res.locals.requestId as string;
}

/** Bytes are fetched for many ids at once: one by one they cost more than all else here. */
function requestIds(): () => string {
  let bytes = Buffer.alloc(0);
  let next = 0;
  return () => {
    if (next === bytes.length) [bytes, next] = [randomBytes(idLength * 100), 0];
    let id = 'req_';
    for (const end = next + idLength; next < end; next += 1) id += alphabet[(bytes[next] ?? 0) % alphabet.length];
    return id;
  };
}

/**
 * Gives each request an id and writes one line when it is done: method, path without query, status, time, and what
 * failed. Query strings, bodies, cookies and tokens never reach the log (SECURITY 57); neither do ids inside paths.
 */
export function requestLog(log: Logger): RequestHandler {
  const newRequestId = requestIds();
  return (req, res, next) => {
    const startedAt = performance.now();
    const path = pathForLog(req.originalUrl);
    res.locals.requestId = newRequestId();
    res.setHeader('X-Request-Id', requestId(res));
    res.once('close', () => {
      const line = {
        requestId: requestId(res),
        method: req.method,
        path,
        status: res.statusCode,
        ms: Math.round(performance.now() - startedAt),
        ...(res.locals.outcome ? { outcome: res.locals.outcome } : undefined),
        ...(res.locals.traceId ? { trace_id: res.locals.traceId } : undefined),
        ...(res.writableFinished ? undefined : { aborted: true }),
      };
      const error = res.locals.error as unknown;
      if (error) log.error({ ...line, err: error }, 'request failed');
      else log[quietPaths.test(path) ? 'debug' : 'info'](line, 'request');
    });
    next();
  };
}

const quietPaths = /^\/(livez|readyz|metrics|assets\/.*)$/;

/** Long opaque segments are ids of interactions and the like: their holder could act on them. */
function pathForLog(url: string): string {
  return (url.split('?', 1)[0] ?? '').replace(/\/[\w~-]{20,}/g, '/:id').slice(0, 200);
}

/** Notes in the request's log line the trace that it belongs to. */
export function noteTrace(res: Response, traceId: string): void {
  res.locals.traceId = traceId;
}

/** Notes in the request's log line what came of it, in one or two words (`login rejected`). */
export function noteOutcome(res: Response, outcome: string): void {
  res.locals.outcome = outcome;
}

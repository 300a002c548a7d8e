import { isUtf8 } from 'node:buffer';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { z } from 'zod';
import { HttpError, type Issue, unacceptable } from './errors.ts';

/** Enough for any client's metadata with its keys, and far from what could hurt. */
const limit = '64kb';

const requireUtf8 = (_req: unknown, _res: unknown, body: Buffer) => {
  if (!isUtf8(body)) throw new HttpError(400, 'invalid_request', 'The request body is not valid UTF-8.');
};

const json = express.json({ limit, verify: requireUtf8 });
const form = express.urlencoded({ limit, extended: false, parameterLimit: 200, verify: requireUtf8 });

/** True when the request carried a form: it is answered with a page or a redirect, JSON with JSON. */
export function isForm(req: Request): boolean {
  return Boolean(req.is('application/x-www-form-urlencoded'));
}

/** Reads a JSON or form body, whichever the content type names. Bodies are read per route: the provider reads its own. */
export const readBody: RequestHandler = (req, res, next) => {
  if (isForm(req)) form(req, res, next);
  else readJson(req, res, next);
};

/** Reads a body that must be JSON. */
export function readJson(req: Request, res: Response, next: NextFunction): void {
  if (!req.is('application/json')) {
    const hasBody = req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;
    if (hasBody) {
      throw new HttpError(415, 'invalid_request', 'Send the request body as application/json.');
    }
    req.body = {};
    next();
    return;
  }
  json(req, res, (error?: unknown) => next(error ?? (isTooDeep(req.body) ? tooDeep() : undefined)));
}

/** Nothing that is asked for here comes near; what goes through values by recursion would exhaust the stack. */
const mostLevels = 32;

export function isTooDeep(body: unknown): boolean {
  let level: unknown[] = [body];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > mostLevels) return true;
    level = level.flatMap((value) => (typeof value === 'object' && value !== null ? Object.values(value) : []));
  }
  return false;
}

function tooDeep(): HttpError {
  return new HttpError(400, 'invalid_request', `The request body is nested more than ${mostLevels} levels deep.`);
}

/**
 * Text a person or a program typed: trimmed, at most `max` characters, without control characters (PostgreSQL cannot
 * store NUL) or what is left of broken encodings.
 */
export function text(max: number) {
  return z
    .string()
    .trim()
    .max(max, `Use at most ${max} characters.`)
    .refine(isPlainText, 'Remove the characters that cannot be shown.');
}

/** False for control characters, lone surrogates and U+FFFD, which stands where bytes were not valid UTF-8. */
export function isPlainText(value: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return value.isWellFormed() && !/[\u0000-\u001f\u007f-\u009f\ufffd]/.test(value);
}

/** False also for format characters, which turn text round or hide in it: people read these words before they allow something. */
export function isVisibleText(value: string): boolean {
  return isPlainText(value) && !invisible.test(value);
}

/** The two joiners are what scripts and emoji need. */
const invisible = /(?![\u200c\u200d])[\p{Cf}\p{Co}\p{Zl}\p{Zp}]/u;

/** Parses a body, or throws 400 `invalid_request` with one issue per field. */
export function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body ?? {});
  if (result.success) return result.data;
  throw unacceptable(issuesOf(result.error));
}

export function issuesOf(error: z.ZodError): Issue[] {
  return error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
}

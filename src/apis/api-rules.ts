import { z } from 'zod';
import { issuesOf, isVisibleText } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';

/** What makes an API. `identifier` never changes: it is written into tokens and into the API's own settings. */
export type ApiDefinition = {
  identifier: string;
  name: string;
  scopes: Record<string, string>;
  tokenFormat: 'jwt' | 'opaque';
  signingAlg: (typeof signingAlgs)[number];
  tokenLifetimeSeconds: number;
  /** Whether any client may ask people for its scopes; else those that were allowed to. */
  anyClient: boolean;
};

/** The algorithms that the key ring has keys for. */
export const signingAlgs = ['ES256', 'RS256', 'EdDSA'] as const;

/** They mean something else already (OIDC Core §5.4, §11), so no API may mean its own thing by them. */
export const reservedScopes = ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'];

const longestIdentifier = 255;
const mostScopes = 100;

const identifier = z
  .string()
  .max(longestIdentifier, `Use at most ${longestIdentifier} characters.`)
  .refine(isResource, 'Use an absolute URI without a fragment, like https://api.example.com (RFC 8707).');

export const plain = z
  .string()
  .trim()
  .min(1, 'Say it in a word or more.')
  .max(200, 'Use at most 200 characters.')
  .refine(isVisibleText, 'Remove the characters that cannot be seen.');

/** RFC 6749 §3.3 scope-token. */
const scope = z
  .string()
  .max(100, 'Use at most 100 characters for the name of a scope.')
  .regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'A scope is made of printable ASCII without space, " and \\ (RFC 6749 §3.3).')
  .refine((name) => !reservedScopes.includes(name), 'This scope belongs to OpenID Connect.');

const shape = {
  name: plain,
  scopes: z
    .record(scope, plain)
    .refine((scopes) => Object.keys(scopes).length <= mostScopes, `Use at most ${mostScopes} scopes.`),
  tokenFormat: z.enum(['jwt', 'opaque']),
  signingAlg: z.enum(signingAlgs),
  tokenLifetimeSeconds: z.int().min(60, 'From 60 to 86400 seconds.').max(86_400, 'From 60 to 86400 seconds.'),
  anyClient: z.boolean(),
};

const Definition = z.strictObject({
  ...shape,
  identifier,
  scopes: shape.scopes.default({}),
  tokenFormat: shape.tokenFormat.default('jwt'),
  signingAlg: shape.signingAlg.default('ES256'),
  tokenLifetimeSeconds: shape.tokenLifetimeSeconds.default(600),
  anyClient: shape.anyClient.default(false),
});

const Changes = z.strictObject(shape).partial();

/** @throws {HttpError} 400 `invalid_request` with an issue for each member that is not in order */
export function checkDefinition(definition: unknown): ApiDefinition {
  return check(Definition, definition);
}

/** @throws {HttpError} 400 `invalid_request` */
export function checkChanges(changes: unknown): Partial<Omit<ApiDefinition, 'identifier'>> {
  const given = check(Changes, changes);
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

export function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = issuesOf(result.error);
  const [first] = issues;
  throw new HttpError(400, 'invalid_request', `${first?.path ?? ''}: ${first?.message}`.replace(/^: /, ''), { issues });
}

/** RFC 8707 §2: an absolute URI without a fragment. Printable ASCII, so that every database can compare it. */
export function isResource(value: string): boolean {
  return /^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/i.test(value) && !/[#<>"\\^`{|}]/.test(value) && URL.canParse(value);
}

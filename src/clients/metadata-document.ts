/**
 * A client ID metadata document (draft-ietf-oauth-client-id-metadata-document-02) by itself: which addresses can be one's,
 * how it is had, and what of it counts here. What becomes of it is document-clients.ts.
 */
import type { ClientMetadata } from '../db/schema.ts';
import { isTooDeep } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';
import { readBounded } from '../http/outbound.ts';
import { isLoopback } from './redirect-uris.ts';

/** The address did not answer, or not now: nothing is said about the client. */
export class DocumentUnreachable extends HttpError {}

/** The document was had and cannot be a client's here. The reason may be told to whoever asked. */
export function documentRefused(reason: string, cause?: unknown): HttpError {
  return new HttpError(400, 'invalid_client', `The client_id metadata document ${reason}.`, { cause });
}

/** True for an address that can be a client's id, in the one way of writing it: two would be two clients (draft §3). */
export function isDocumentAddress(clientId: string, { production }: { production: boolean }): boolean {
  if (!URL.canParse(clientId)) return false;
  const url = new URL(clientId);
  if (url.href !== clientId || url.username !== '' || url.password !== '' || clientId.includes('#')) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && !production && isLoopback(url));
}

/** The draft recommends 5 KB; this leaves room for keys. */
const maxBytes = 16 * 1024;

/**
 * Asks for the document. `freshMs` is how long the answer's headers let it be kept, within bounds.
 * @throws {DocumentUnreachable} and other HttpErrors when the answer is none that the draft accepts (§4)
 */
export async function fetchDocument(
  fetch: typeof globalThis.fetch,
  clientId: string,
): Promise<{ document: ClientMetadata; freshMs: number }> {
  const response = await fetch(clientId, { headers: { Accept: 'application/json' }, redirect: 'manual' }).catch(
    unreachable,
  );
  const problem = answerProblem(response);
  if (problem) {
    await response.body?.cancel().catch(() => {});
    throw problem;
  }
  const body = await readBounded(response, maxBytes).catch(unreachable);
  return { document: readDocument(clientId, body), freshMs: freshMs(response.headers) };
}

function unreachable(cause: unknown): never {
  throw new DocumentUnreachable(400, 'invalid_client', 'The client_id metadata document could not be fetched.', {
    cause,
  });
}

function answerProblem({ status, headers }: Response): HttpError | undefined {
  const cause = new Error(`answered with status ${status}, ${headers.get('content-type')}`);
  if (status >= 500 || status === 429) {
    const words = 'The client_id metadata document cannot be fetched right now.';
    return new DocumentUnreachable(400, 'invalid_client', words, { cause });
  }
  if (status !== 200) return documentRefused('must be answered with status 200 and no redirect', cause);
  const type = headers.get('content-type') ?? '';
  if (!/^application\/(json|[\w.+-]+\+json)\s*(;|$)/i.test(type)) return documentRefused('must be application/json');
  return undefined;
}

function readDocument(clientId: string, body: Buffer): ClientMetadata {
  const document = parseJson(body.toString());
  if (typeof document !== 'object' || document === null || Array.isArray(document) || isTooDeep(document)) {
    throw documentRefused('must be a JSON object');
  }
  const metadata = document as ClientMetadata;
  // Otherwise whoever can put a file anywhere could speak for somebody else's client.
  if (metadata.client_id !== clientId) throw documentRefused('must have its own address as client_id');
  if ('client_secret' in metadata || 'client_secret_expires_at' in metadata) {
    throw documentRefused('must not have a client_secret: everybody can read it');
  }
  return metadata;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw documentRefused('must be a JSON object', cause);
  }
}

const leastFreshMs = 30 * 1000;
const mostFreshMs = 24 * 60 * 60 * 1000;

/** RFC 9111 §4.2.1, without what only shared caches need. */
function freshMs(headers: Headers): number {
  const control = headers.get('cache-control') ?? '';
  const maxAge = /(?:^|[,\s])max-age=(\d+)/i.exec(control)?.[1];
  const untilExpiry = Date.parse(headers.get('expires') ?? '') - Date.now();
  const asked = /no-store|no-cache/i.test(control) ? 0 : maxAge !== undefined ? Number(maxAge) * 1000 : untilExpiry;
  return Math.min(Math.max(asked || 0, leastFreshMs), mostFreshMs);
}

const authMethods: unknown[] = ['none', 'private_key_jwt'];
/** Grants in which a person has the say. */
const grantTypes: unknown[] = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];

/**
 * What of a document counts here. One document is read by many servers: what it names beside what there is here is left
 * out, and it may stay silent about what follows from the rest.
 */
export function documentMetadata(document: ClientMetadata): ClientMetadata {
  const { scope, ...metadata } = document;
  const {
    token_endpoint_auth_method: method = 'none',
    grant_types = ['authorization_code', 'refresh_token'],
    response_types = ['code'],
    redirect_uris,
  } = metadata;
  if (!authMethods.includes(method)) {
    throw documentRefused(
      'must name none or private_key_jwt as token_endpoint_auth_method: a secret has no one to keep it',
    );
  }
  return {
    application_type: isOnDevice(redirect_uris) ? 'native' : 'web',
    ...metadata,
    token_endpoint_auth_method: method,
    grant_types: known(grant_types, grantTypes),
    response_types: known(response_types, ['code']),
  };
}

function known(names: unknown, supported: unknown[]): unknown {
  return Array.isArray(names) ? names.filter((name) => supported.includes(name)) : names;
}

/** RFC 8252 §7: an app that takes its answer on a loopback port or by a scheme of its own. */
function isOnDevice(redirectUris: unknown): boolean {
  if (!Array.isArray(redirectUris)) return false;
  return redirectUris.some((uri: unknown) => {
    if (typeof uri !== 'string' || !URL.canParse(uri)) return false;
    const url = new URL(uri);
    return url.protocol === 'http:' ? isLoopback(url) : url.protocol !== 'https:';
  });
}

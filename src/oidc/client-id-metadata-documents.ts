/**
 * Client ID metadata documents, as far as the library is concerned: it asks for a client, and gets one whose metadata may
 * have come from its id. The library's own feature stays off. It would keep documents as they are, `first_party` and all,
 * in the memory of one process, where neither consents nor an operator could find their clients.
 */
import { errors, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { HttpError } from '../http/errors.ts';
import type { ClientStorage } from './adapter.ts';
import type { Payload } from './artifacts.ts';
import { requestSource } from './request-source.ts';

/** Where a client names itself. Elsewhere nothing is fetched, and a client whose copy has grown too old is none. */
const asking = new Set([
  ...['authorization', 'resume', 'pushed_authorization_request', 'device_authorization'],
  ...['token', 'revocation', 'end_session'],
]);

export function createFindClient(clients: ClientStorage): (clientId: string) => Promise<Payload | undefined> {
  /** The library looks again for a client that it could not get; the answer is the same without another request. */
  const refused = new WeakMap<KoaContextWithOIDC, Error>();

  return async (clientId) => {
    const { ctx } = Provider;
    const earlier = ctx && refused.get(ctx);
    if (earlier) throw earlier;
    try {
      return await clients.find(clientId, ctx && asking.has(ctx.oidc?.route) ? requestSource(ctx) : undefined);
    } catch (error) {
      if (!(error instanceof HttpError) || !ctx) throw error;
      const refusal = libraryError(ctx, error);
      refused.set(ctx, refusal);
      throw refusal;
    }
  };
}

function libraryError(ctx: KoaContextWithOIDC, error: HttpError): Error {
  const { status, code, message, retryAfterSeconds } = error;
  if (retryAfterSeconds !== undefined) ctx.set('Retry-After', String(retryAfterSeconds));
  const refusal = new errors.CustomOIDCProviderError(code, message);
  // For the log; strangers are not told what answers where.
  if (error.cause instanceof Error) refusal.error_detail = error.cause.message;
  return Object.assign(refusal, { status, statusCode: status });
}

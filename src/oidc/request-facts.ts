/** What metrics and traces may know of a request to the library: names from closed lists, no value of the request. */
import type { KoaContextWithOIDC } from 'oidc-provider';
import { nameRoute } from '../http/route-name.ts';

/** What came of a request at the token endpoint. */
export type TokenRequest = { grant: string; outcome: string };

const other = 'other';

const grants: Record<string, string> = {
  authorization_code: 'authorization_code',
  client_credentials: 'client_credentials',
  refresh_token: 'refresh_token',
  'urn:ietf:params:oauth:grant-type:device_code': 'device_code',
  'urn:ietf:params:oauth:grant-type:token-exchange': 'token_exchange',
};

/** RFC 6749 §5.2, RFC 8628 §3.5, RFC 8693 §2.2.2, RFC 8707 §2, RFC 9396 §5, RFC 9449, and our own. */
const outcomes = [
  'success',
  'access_denied',
  'authorization_pending',
  'expired_token',
  'invalid_authorization_details',
  'invalid_client',
  'invalid_dpop_proof',
  'invalid_grant',
  'invalid_request',
  'invalid_scope',
  'invalid_target',
  'server_error',
  'slow_down',
  'temporarily_unavailable',
  'unauthorized_client',
  'unsupported_grant_type',
  'use_dpop_nonce',
];

/** All grants that `tokenRequest` can answer. */
export const tokenGrants: readonly string[] = [...Object.values(grants), other];

/** Names the request by the library's name of its route and, at the token endpoint, says what came of it. */
export async function noteFacts(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> {
  try {
    await next();
  } finally {
    const { locals = {} } = ctx.res as { locals?: Record<string, unknown> };
    // An address that is none of the library's has no `oidc`.
    const route = ctx.oidc?.route;
    nameRoute({ locals }, `oidc.${route ?? other}`);
    if (route === 'token') locals.tokenRequest = tokenRequest(ctx);
  }
}

function tokenRequest({ oidc, status, body }: KoaContextWithOIDC): TokenRequest {
  const grant = String(oidc.params?.grant_type);
  const error = status === 200 ? 'success' : String((body as { error?: unknown } | undefined)?.error);
  return {
    grant: Object.hasOwn(grants, grant) ? (grants[grant] ?? other) : other,
    outcome: outcomes.includes(error) ? error : other,
  };
}

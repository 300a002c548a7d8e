/**
 * Requests and answers that are pushed, signed or bound to a key, and the algorithms for it: all on for every client that
 * asks for it. What a client with `fapi_profile` must use of them is its metadata's and fapi.ts's business.
 */
import type { Configuration } from 'oidc-provider';
import { clientAlgorithms, proofAlgorithms, serverAlgorithms } from '../keys/signing-algorithms.ts';
import { dPoPFeature } from './dpop.ts';
import { assertRequestObject, fapiFeature } from './fapi.ts';
import { type MutualTls, mtlsFeature } from './mtls.ts';

export type AdvancedRequestDependencies = {
  /** 32 bytes, the same on every instance. */
  dPoPNonceSecret: Buffer;
  /** Absent where no client can show a certificate. */
  mtls?: MutualTls | undefined;
};

export function advancedFeatures({ dPoPNonceSecret, mtls }: AdvancedRequestDependencies) {
  return {
    pushedAuthorizationRequests: { enabled: true },
    // By value only: the library fetches no request object, whatever address a request names.
    requestObjects: { enabled: true, assertJwtClaimsAndHeader: assertRequestObject },
    jwtResponseModes: { enabled: true },
    jwtIntrospection: { enabled: true },
    jwtUserinfo: { enabled: true },
    dPoP: dPoPFeature(dPoPNonceSecret),
    mTLS: mtlsFeature(mtls),
    fapi: fapiFeature,
  } satisfies Configuration['features'];
}

export const enabledJWA: NonNullable<Configuration['enabledJWA']> = {
  clientAuthSigningAlgValues: [...clientAlgorithms],
  requestObjectSigningAlgValues: [...clientAlgorithms],
  dPoPSigningAlgValues: [...proofAlgorithms],
  idTokenSigningAlgValues: [...serverAlgorithms],
  userinfoSigningAlgValues: [...serverAlgorithms],
  introspectionSigningAlgValues: [...serverAlgorithms],
  authorizationSigningAlgValues: [...serverAlgorithms],
};

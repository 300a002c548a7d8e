/**
 * Mutual TLS (RFC 8705): clients that authenticate with a certificate, and access tokens bound to one. The library
 * compares; which certificate a request came with and which one is believed is ours to say. On only when configured.
 */
import type { X509Certificate } from 'node:crypto';
import { type ClientAuthMethod, type Configuration, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { readClientCertificate } from '../http/client-certificate.ts';
import { isIssuedByOneOf } from '../lib/certificate-issuer.ts';
import { certificateBears } from '../lib/certificate-names.ts';

export type MutualTls = {
  /** The header of a trusted proxy, in lower case. */
  certHeader: string | undefined;
  /** Certificates whose holders may issue for `tls_client_auth`; without any, that method is off. */
  authorities: readonly X509Certificate[];
  /** Where the endpoints that ask for a certificate are, when that is another origin than the issuer's. */
  origin: string | undefined;
};

type MtlsFeature = NonNullable<NonNullable<Configuration['features']>['mTLS']>;

export function mtlsFeature(mtls: MutualTls | undefined): MtlsFeature {
  if (!mtls) return { enabled: false };
  const { certHeader, authorities } = mtls;
  const certificateOf = ({ req }: Pick<KoaContextWithOIDC, 'req'>) => readClientCertificate(req, certHeader);
  return {
    enabled: true,
    certificateBoundAccessTokens: true,
    selfSignedTlsClientAuth: true,
    tlsClientAuth: authorities.length > 0,
    getCertificate: certificateOf,
    certificateAuthorized(ctx) {
      const certificate = certificateOf(ctx);
      return certificate !== undefined && isIssuedByOneOf(certificate, authorities);
    },
    certificateSubjectMatches(ctx, property, expected) {
      const certificate = certificateOf(ctx);
      return certificate !== undefined && certificateBears[property]?.(certificate, expected) === true;
    },
  };
}

/** Every method that is on. Those with a shared secret compare hashes, so nothing may use the secret as an HMAC key. */
export function clientAuthMethods(mtls: MutualTls | undefined): ClientAuthMethod[] {
  return [
    ...(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const),
    ...(mtls ? (['self_signed_tls_client_auth'] as const) : []),
    ...(mtls && mtls.authorities.length > 0 ? (['tls_client_auth'] as const) : []),
  ];
}

/** The endpoints that a client calls itself, by their names in the metadata, below the issuer. */
const aliasedEndpoints = {
  token_endpoint: '/token',
  revocation_endpoint: '/revocation',
  introspection_endpoint: '/introspection',
  userinfo_endpoint: '/userinfo',
  pushed_authorization_request_endpoint: '/request',
  device_authorization_endpoint: '/device/auth',
};

/** RFC 8705 §5. */
export function mtlsMetadata(mtls: MutualTls | undefined): Record<string, unknown> {
  if (mtls?.origin === undefined) return {};
  const aliases = Object.entries(aliasedEndpoints).map(([name, path]) => [name, `${mtls.origin}/oidc${path}`]);
  return { mtls_endpoint_aliases: Object.fromEntries(aliases) };
}

type ExtraClientMetadata = NonNullable<Configuration['extraClientMetadata']>;
const bound = 'tls_client_certificate_bound_access_tokens';

/**
 * Without mutual TLS the library does not know this member, and would give a client that relies on it tokens that
 * anybody can use. Such a client is refused instead, at registration and when it is used.
 */
export function requireMtlsForBoundTokens(extra: ExtraClientMetadata): ExtraClientMetadata {
  return {
    properties: [...(extra.properties ?? []), bound],
    validator(ctx, key, value, metadata) {
      if (key !== bound) return extra.validator?.(ctx, key, value, metadata);
      if (value === undefined || value === false) return;
      throw new errors.InvalidClientMetadata(`${bound} needs mutual TLS, which is not set up on this server`);
    },
  };
}

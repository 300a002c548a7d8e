/**
 * Every environment variable, once: its kind of value, its default and what it means. `.env.example` and the table in
 * docs/configuration.md are printed from here. Reading the values, and rules about several of them, are config.ts.
 */
import { z } from 'zod';
import * as keys from './keys.ts';
import * as values from './values.ts';

/** `default` is the text one would write in the environment; `unset` says in words what happens without the variable. */
export type Variable = {
  meaning: string;
  default?: string;
  productionDefault?: string;
  unset?: string;
  secret?: true;
};

const variables = z.registry<Variable>();

export const shape = {
  NODE_ENV: values.oneOf('development', 'production', 'test').register(variables, {
    default: 'development',
    meaning: '`production` requires https and stricter defaults, named below',
  }),
  OIDC_ISSUER: values.origin().optional().register(variables, {
    unset: '`http://localhost:$PORT`, `https://…` with TLS files',
    meaning: 'public origin, no path; the issuer is this + `/oidc`. `https` is required in production, loopback apart',
  }),
  PORT: values.whole(0, 65535).register(variables, { default: '3000', meaning: 'port to listen on' }),
  HOST: values.host().register(variables, {
    default: '127.0.0.1',
    productionDefault: '0.0.0.0',
    meaning: 'address to listen on',
  }),
  DATABASE_URL: values.databaseUrl().optional().register(variables, {
    secret: true,
    unset: 'embedded PostgreSQL under `DATA_DIR`',
    meaning: 'any PostgreSQL 15 or later: `postgres://user:password@host:port/database`',
  }),
  DATABASE_POOL_SIZE: values.whole(2, 1000).register(variables, {
    default: '10',
    meaning: 'connections to the database that each process keeps at most',
  }),
  DATA_DIR: values.folder().register(variables, {
    default: './data',
    meaning: 'folder of the embedded database and of generated secrets (made with mode 0700)',
  }),
  OIDC_COOKIE_SECRET: values.cookieSecrets().optional().register(variables, {
    secret: true,
    unset: 'generated once into `DATA_DIR`; required in production with `DATABASE_URL`',
    meaning: 'signs cookies: at least 32 characters; comma-separated list to rotate, the first signs',
  }),
  OIDC_ENCRYPTION_KEY: values.encryptionKeys().optional().register(variables, {
    secret: true,
    unset: 'generated once into `DATA_DIR`; required in production with `DATABASE_URL`',
    meaning:
      'encrypts signing keys and TOTP secrets at rest: 32 bytes, base64; comma-separated list to rotate, the first encrypts',
  }),
  JWKS_PRIVATE_KEY: keys.signingKey().optional().register(variables, {
    secret: true,
    unset: 'made once and kept encrypted in the database',
    meaning: 'signing key brought from outside: PKCS#8 PEM (RSA of 2048 bits or more, or EC P-256), or a path to one',
  }),
  ALLOWED_ORIGINS: values
    .origins()
    .optional()
    .register(variables, { unset: 'empty', meaning: 'CORS allow-list: comma-separated origins; `*` is refused' }),
  BCRYPT_ROUNDS: values
    .whole(10, 15)
    .register(variables, { default: '12', meaning: 'cost of password and client secret hashes, 10 to 15' }),
  PASSWORD_CHECK: values.oneOf('length', 'common', 'breached').register(variables, {
    default: 'length',
    productionDefault: 'common',
    meaning:
      '`length`: 8 characters or more; `common`: also not on the bundled list; `breached`: also asked of a range-query service',
  }),
  PASSWORD_RANGE_URL: values.rangeUrl().register(variables, {
    default: 'https://api.pwnedpasswords.com/range/',
    meaning:
      'where `breached` asks: five digits of a SHA-1 are put behind it, the answer is as Have I Been Pwned gives it; one at a private address needs `OUTBOUND_ALLOW`',
  }),
  CLIENT_REGISTRATION: values.oneOf('open', 'token', 'closed').register(variables, {
    default: 'open',
    productionDefault: 'token',
    meaning: 'who may register clients: anybody (`open`), with an initial access token (`token`), nobody (`closed`)',
  }),
  CLIENT_ID_METADATA_DOCUMENTS: values.oneOf('off', 'on').register(variables, {
    default: 'off',
    meaning:
      'whether a client may be known by the https address of a document with its metadata, as MCP clients are; nobody vouches for such clients',
  }),
  ACCOUNT_REGISTRATION: values.oneOf('open', 'verified', 'closed').register(variables, {
    default: 'open',
    meaning: '`open`, `verified` (the account exists only once the mail link was followed) or `closed`',
  }),
  PKCE: values.oneOf('public', 'all').register(variables, {
    default: 'public',
    meaning: '`public`: required of public clients and of any client with `require_pkce`; `all`: of every client',
  }),
  REFRESH_TOKEN_LEEWAY: values.whole(0, 3600).register(variables, {
    default: '10',
    meaning: 'seconds in which a rotated refresh token may be presented again; `0` is strict',
  }),
  SMTP_URL: values.smtpUrl().optional().register(variables, {
    secret: true,
    unset: 'mails go to the development outbox page; in production none is sent',
    meaning:
      'outgoing mail: `smtp://user:password@host:port` or `smtps://…`; in production `smtp` needs STARTTLS, loopback apart',
  }),
  MAIL_FROM: values.mailAddress().optional().register(variables, {
    unset: '`no-reply@` the host of the issuer',
    meaning: 'sender of outgoing mail: an address, or `Name <address>`',
  }),
  TRUST_PROXY: values.trustProxy().optional().register(variables, {
    unset: 'no proxy is trusted',
    meaning:
      'proxies in front: hop count, or their addresses (IPs, CIDR ranges, `loopback`, `linklocal`, `uniquelocal`), comma-separated; `true` is refused, since any visitor could then choose the address seen',
  }),
  TLS_CERT_FILE: keys
    .certificateFile()
    .optional()
    .register(variables, { unset: 'plain http', meaning: 'PEM certificate (chain) to serve HTTPS directly' }),
  TLS_KEY_FILE: keys
    .privateKeyFile()
    .optional()
    .register(variables, { unset: 'plain http', meaning: 'its PEM private key; both files or none' }),
  MTLS_PORT: values.whole(1, 65535).optional().register(variables, {
    unset: 'none',
    meaning:
      'second HTTPS port, with the same TLS files, that asks clients for a certificate (RFC 8705); discovery names it',
  }),
  MTLS_CERT_HEADER: values.headerName().optional().register(variables, {
    unset: 'none',
    meaning:
      "request header in which a trusted proxy hands on a client's certificate: percent-encoded PEM or RFC 9440; needs `TRUST_PROXY` with addresses",
  }),
  MTLS_ORIGIN: values.origin().optional().register(variables, {
    unset: "the issuer's host with `MTLS_PORT`",
    meaning: 'public origin at which clients show their certificates, if it is not the issuer’s own',
  }),
  MTLS_CA_FILE: keys.authoritiesFile().optional().register(variables, {
    unset: '`tls_client_auth` is off',
    meaning:
      'PEM file of the authorities whose client certificates `tls_client_auth` accepts, each the immediate issuer',
  }),
  OUTBOUND_ALLOW: values.outboundHosts().optional().register(variables, {
    unset: 'empty',
    meaning:
      "hosts or CIDR ranges that requests made on a client's behalf (`jwks_uri`, back-channel logout, …) may reach although they are private; named in the log at start",
  }),
  PLAYGROUND: values.oneOf('on', 'off').register(variables, {
    default: 'on',
    productionDefault: 'off',
    meaning: 'the relying party at `/playground`',
  }),
  BRAND_NAME: values.brandName().register(variables, { default: 'Latchkey', meaning: 'name on the pages' }),
  BRAND_LOGO_URL: values.logoUrl().optional().register(variables, {
    unset: 'its own mark',
    meaning: 'logo on the pages: an https URL or a path on this origin',
  }),
  BRAND_HUE: values
    .whole(0, 360)
    .register(variables, { default: '178', meaning: 'the one colour of the pages, as a hue from 0 to 360' }),
  WEB_CONCURRENCY: values
    .workers()
    .register(variables, { default: '1', meaning: 'processes that serve requests; `auto` is one per core' }),
  STOP_DELAY_SECONDS: values.whole(0, 300).register(variables, {
    default: '0',
    productionDefault: '5',
    meaning:
      'seconds in which a server asked to stop still takes requests while `/readyz` is red already, for load balancers to notice, 0 to 300',
  }),
  BACKUP_PASSPHRASE: values.passphrase().optional().register(variables, {
    secret: true,
    unset: 'the commands ask for it',
    meaning: 'encrypts and opens backups: at least 12 characters',
  }),
  METRICS_TOKEN: values.bearerToken().optional().register(variables, {
    secret: true,
    unset: '`/metrics` answers loopback only',
    meaning: 'bearer token for `/metrics`',
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: values.collectorUrl().optional().register(variables, {
    unset: 'no traces are made',
    meaning: 'OpenTelemetry collector that takes traces by OTLP over HTTP, such as `http://localhost:4318`',
  }),
  OTEL_EXPORTER_OTLP_HEADERS: values.headerList().optional().register(variables, {
    secret: true,
    unset: 'none',
    meaning: 'headers for the collector: `name=value`, comma-separated, values percent-encoded',
  }),
  OTEL_SERVICE_NAME: values
    .serviceName()
    .register(variables, { default: 'latchkey', meaning: 'what traces call this server' }),
  OTEL_TRACES_SAMPLER: values
    .oneOf(
      'parentbased_always_on',
      'parentbased_always_off',
      'parentbased_traceidratio',
      'always_on',
      'always_off',
      'traceidratio',
    )
    .register(variables, {
      default: 'parentbased_always_on',
      meaning: 'which requests are traced; with `parentbased_…` whoever sends `traceparent` decides for its own',
    }),
  OTEL_TRACES_SAMPLER_ARG: values
    .share()
    .register(variables, { default: '1', meaning: 'share of requests that `…traceidratio` traces, 0 to 1' }),
  AUDIT_RETENTION_DAYS: values.whole(1, 36500).register(variables, {
    default: '400',
    meaning: 'days after which events leave the audit log, 1 to 36500',
  }),
  LOG_LEVEL: values.oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent').register(variables, {
    default: 'info',
    meaning: 'pino level: `fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`',
  }),
};

export type Name = keyof typeof shape;

export const names = Object.keys(shape) as Name[];

export function describeVariable(name: Name): Variable {
  const variable = variables.get(shape[name]);
  if (!variable) throw new Error(`${name} is not described`);
  return variable;
}

/**
 * The configuration: read once from the environment, complained about once, readonly ever after. This is the only file
 * that reads `process.env`. What each variable may hold is config/environment.ts, what they may say together is
 * config/rules.ts; here is what comes of them: the shape that everybody else relies on.
 */
import type { X509Certificate } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { z } from 'zod';
import { shape } from './config/environment.ts';
import { generatedSecret } from './config/generated-secrets.ts';
import { environment } from './config/rules.ts';
import { findWarnings, readTexts } from './config/texts.ts';

export type Config = Readonly<{
  production: boolean;
  /** `https://id.example.com`: scheme, host and port, no trailing slash. */
  origin: string;
  /** `origin` + `/oidc`. */
  issuer: string;
  /** Whether `origin` is https. */
  secure: boolean;
  port: number;
  host: string;
  /** Absent: the embedded PostgreSQL under `dataDir`. */
  databaseUrl: string | undefined;
  /** Connections of each process. */
  databasePoolSize: number;
  /** Absolute. */
  dataDir: string;
  /** The first signs, all verify. */
  cookieSecrets: readonly string[];
  /** 32 bytes each; the first encrypts, all decrypt. */
  encryptionKeys: readonly Buffer[];
  /** PKCS#8 PEM text. */
  jwksPrivateKey: string | undefined;
  allowedOrigins: readonly string[];
  bcryptRounds: number;
  passwordCheck: 'length' | 'common' | 'breached';
  /** Ends where five digits are put behind it. */
  passwordRangeUrl: string;
  clientRegistration: 'open' | 'token' | 'closed';
  /** Clients may be known by the address of a document with their metadata. */
  clientIdMetadataDocuments: boolean;
  accountRegistration: 'open' | 'verified' | 'closed';
  pkce: 'public' | 'all';
  refreshTokenLeewaySeconds: number;
  smtpUrl: string | undefined;
  mailFrom: string | undefined;
  /** Express's `trust proxy` value. */
  trustProxy: boolean | number | string | undefined;
  tls: Readonly<{ certFile: string; keyFile: string }> | undefined;
  /** Where clients may show certificates (RFC 8705); absent when nowhere. */
  mtls: MtlsConfig | undefined;
  /** Host names in lower case, addresses and CIDR ranges. */
  outboundAllow: readonly string[];
  playground: boolean;
  brand: Readonly<{ name: string; logoUrl: string | undefined; hue: number }>;
  /** Processes that serve requests. */
  workers: number;
  stopDelaySeconds: number;
  metricsToken: string | undefined;
  backupPassphrase: string | undefined;
  /** Absent: no traces. */
  tracing: TracingConfig | undefined;
  auditRetentionDays: number;
  logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
}>;

type TracingConfig = Readonly<{
  /** Without a slash at its end; `/v1/traces` goes behind it. */
  endpoint: string;
  headers: Readonly<Record<string, string>>;
  serviceName: string;
  sampler: string;
  /** 0 to 1. */
  ratio: number;
}>;

export type MtlsConfig = Readonly<{
  /** Served by this process, beside `port`. */
  port: number | undefined;
  /** In lower case; believed from trusted proxies only. */
  certHeader: string | undefined;
  /** Where that is for clients, when it is not `origin`. */
  origin: string | undefined;
  authorities: readonly X509Certificate[];
}>;

/** Everything wrong with the environment: `problems` one a line, each `NAME: expected …`, none with a value in it. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** What is not wrong but surely not meant, one sentence each, without values. For the log at start. */
export function configWarnings(env: NodeJS.ProcessEnv = process.env): string[] {
  return findWarnings(env);
}

/** Adds the variables of `file`, if there is one, to the environment; what the environment has already stays. */
export function loadEnvironment(file = '.env'): void {
  try {
    process.loadEnvFile(file);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT')
      throw new ConfigError([`${file}: expected a readable file (${errorCode(error)})`]);
  }
}

/** Reads the whole configuration. Makes the secrets in DATA_DIR that are neither given nor there yet. Throws ConfigError. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const v = readValues(env);

  const scheme = v.TLS_CERT_FILE ? 'https' : 'http';
  const origin = v.OIDC_ISSUER ?? new URL(`${scheme}://localhost:${v.PORT}`).origin;
  return Object.freeze({
    production: v.NODE_ENV === 'production',
    origin,
    issuer: `${origin}/oidc`,
    secure: origin.startsWith('https:'),
    port: v.PORT,
    host: v.HOST,
    databaseUrl: v.DATABASE_URL,
    databasePoolSize: v.DATABASE_POOL_SIZE,
    dataDir: v.DATA_DIR,
    cookieSecrets: v.OIDC_COOKIE_SECRET ?? keptSecret(v.DATA_DIR, 'cookie-secret', shape.OIDC_COOKIE_SECRET),
    encryptionKeys: v.OIDC_ENCRYPTION_KEY ?? keptSecret(v.DATA_DIR, 'encryption-key', shape.OIDC_ENCRYPTION_KEY),
    jwksPrivateKey: v.JWKS_PRIVATE_KEY,
    allowedOrigins: v.ALLOWED_ORIGINS ?? [],
    bcryptRounds: v.BCRYPT_ROUNDS,
    passwordCheck: v.PASSWORD_CHECK,
    passwordRangeUrl: v.PASSWORD_RANGE_URL,
    clientRegistration: v.CLIENT_REGISTRATION,
    clientIdMetadataDocuments: v.CLIENT_ID_METADATA_DOCUMENTS === 'on',
    accountRegistration: v.ACCOUNT_REGISTRATION,
    pkce: v.PKCE,
    refreshTokenLeewaySeconds: v.REFRESH_TOKEN_LEEWAY,
    smtpUrl: v.SMTP_URL,
    mailFrom: v.MAIL_FROM,
    trustProxy: v.TRUST_PROXY,
    tls: v.TLS_CERT_FILE && v.TLS_KEY_FILE ? { certFile: v.TLS_CERT_FILE, keyFile: v.TLS_KEY_FILE } : undefined,
    mtls: mtlsOf(v, origin),
    outboundAllow: v.OUTBOUND_ALLOW ?? [],
    playground: v.PLAYGROUND === 'on',
    brand: { name: v.BRAND_NAME, logoUrl: v.BRAND_LOGO_URL, hue: v.BRAND_HUE },
    workers: v.WEB_CONCURRENCY === 'auto' ? availableParallelism() : v.WEB_CONCURRENCY,
    stopDelaySeconds: v.STOP_DELAY_SECONDS,
    metricsToken: v.METRICS_TOKEN,
    backupPassphrase: v.BACKUP_PASSPHRASE,
    tracing: tracingOf(v),
    auditRetentionDays: v.AUDIT_RETENTION_DAYS,
    logLevel: v.LOG_LEVEL,
  });
}

/** Of the configuration, what is there before any secret is made; secrets are texts as in the environment. */
export type Given = Pick<Config, 'databaseUrl' | 'dataDir' | 'backupPassphrase'> & {
  cookieSecret: string | undefined;
  encryptionKey: string | undefined;
};

/** For commands that bring secrets themselves: makes none. Throws ConfigError. */
export function readGiven(env: NodeJS.ProcessEnv = process.env): Given {
  const v = readValues(env);
  return {
    databaseUrl: v.DATABASE_URL,
    dataDir: v.DATA_DIR,
    backupPassphrase: v.BACKUP_PASSPHRASE,
    cookieSecret: v.OIDC_COOKIE_SECRET?.join(','),
    encryptionKey: v.OIDC_ENCRYPTION_KEY && encryptionKeyText(v.OIDC_ENCRYPTION_KEY),
  };
}

export function encryptionKeyText(keys: readonly Buffer[]): string {
  return keys.map((key) => key.toString('base64')).join(',');
}

/** Throws ConfigError. */
export function parseEncryptionKey(text: string): readonly Buffer[] {
  const { data, error } = shape.OIDC_ENCRYPTION_KEY.safeParse(text);
  if (!data) throw new ConfigError([`OIDC_ENCRYPTION_KEY: expected ${error?.issues[0]?.message ?? 'a value'}`]);
  return data;
}

function tracingOf(v: z.output<typeof environment>): TracingConfig | undefined {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_HEADERS: headers = {} } = v;
  if (endpoint === undefined) return undefined;
  const { OTEL_SERVICE_NAME: serviceName, OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: ratio } = v;
  return { endpoint, headers, serviceName, sampler, ratio };
}

function mtlsOf(v: z.output<typeof environment>, origin: string): MtlsConfig | undefined {
  const { MTLS_PORT: port, MTLS_CERT_HEADER: certHeader, MTLS_ORIGIN, MTLS_CA_FILE: authorities = [] } = v;
  if (port === undefined && certHeader === undefined) return undefined;
  const own = port === undefined ? origin : new URL(`https://${new URL(origin).hostname}:${port}`).origin;
  const reached = MTLS_ORIGIN ?? own;
  return { port, certHeader, origin: reached === origin ? undefined : reached, authorities };
}

function readValues(env: NodeJS.ProcessEnv): z.output<typeof environment> {
  const { texts, unreadable } = readTexts(env);
  const { data, error } = environment.safeParse(texts);
  const problems = error?.issues.filter(({ path }) => !unreadable.has(String(path[0]))) ?? [];
  const lines = [
    ...unreadable.values(),
    ...problems.map(({ path, message }) => `${String(path[0])}: expected ${message}`),
  ];
  if (!data || lines.length > 0) throw new ConfigError(lines);
  return data;
}

function keptSecret<T>(dataDir: string, name: string, schema: z.ZodType<T | undefined>): T {
  let text: string;
  try {
    text = generatedSecret(dataDir, name);
  } catch (error) {
    throw new ConfigError([`DATA_DIR: expected a folder in which ${name} can be read or made (${errorCode(error)})`]);
  }
  const { data } = schema.safeParse(text);
  if (!data) throw new ConfigError([`DATA_DIR: expected an undamaged ${name} in it`]);
  return data;
}

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}

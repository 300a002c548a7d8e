/**
 * Every table, read from top to bottom as the data model: people, clients, what people allowed clients, the provider's
 * own artefacts, keys, and counters. Anything that is searched is a typed column; nothing is looked up inside JSON.
 *
 * Nothing here can be replayed by whoever reads the database: credentials are kept as SHA-256 (`…Hash`, `id`), secrets
 * of low entropy as bcrypt, and what must be read back is AES-256-GCM (`…Encrypted`).
 */
import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
} from 'drizzle-orm/pg-core';

const instant = () => timestamp({ withTimezone: true, mode: 'date' });
const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });

/** People. `id` is the `sub` of every token (prefix `u_`, which no client id has). */
export const users = pgTable(
  'users',
  {
    id: text().primaryKey(),
    email: text().notNull(),
    /** The form that is unique: NFKC, trimmed, lower case, domain in ASCII. */
    emailNormalized: text().notNull(),
    emailVerified: boolean().notNull().default(false),
    passwordHash: text(),
    name: text().notNull(),
    givenName: text(),
    familyName: text(),
    middleName: text(),
    nickname: text(),
    preferredUsername: text(),
    profile: text(),
    picture: text(),
    website: text(),
    gender: text(),
    birthdate: text(),
    zoneinfo: text(),
    locale: text(),
    phoneNumber: text(),
    phoneNumberVerified: boolean().notNull().default(false),
    streetAddress: text(),
    locality: text(),
    region: text(),
    postalCode: text(),
    country: text(),
    /** Set while an operator keeps the account from being used. */
    suspendedAt: instant(),
    /** Set while the next sign-in by password must change it. */
    passwordExpiredAt: instant(),
    passwordChangedAt: instant(),
    /** Set by the person; until `deletionAt` signing in takes it back. */
    deletionAt: instant(),
    /** Set while the account may administer this server. */
    administratorSince: instant(),
    createdAt: instant().notNull().defaultNow(),
    updatedAt: instant().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('users_email_normalized').on(t.emailNormalized),
    // Hashes that other systems made, until their owners sign in.
    index('users_imported_hash').on(t.id).where(sql`${t.passwordHash} not like '$bcrypt-sha384%'`),
    index('users_deletion_at').on(t.deletionAt).where(sql`${t.deletionAt} is not null`),
    check('users_id_is_a_persons', sql`left(${t.id}, 2) = 'u_'`),
  ],
);

/**
 * Links in mails and the choices behind them. The token is in the mail only; `payloadEncrypted` holds what is done when it
 * comes back (a registration not yet an account, a new address).
 */
export const emailTokens = pgTable(
  'email_tokens',
  {
    tokenHash: text().primaryKey(),
    purpose: text({ enum: ['register', 'verify', 'reset', 'change-old', 'change-new', 'change-undo'] }).notNull(),
    accountId: text().references(() => users.id, { onDelete: 'cascade' }),
    payloadEncrypted: text(),
    expiresAt: instant().notNull(),
    createdAt: instant().notNull().defaultNow(),
  },
  (t) => [
    index('email_tokens_account_id').on(t.accountId).where(sql`${t.accountId} is not null`),
    index('email_tokens_expires_at').on(t.expiresAt),
  ],
);

/** Mails to be sent, encrypted as they hold links that sign in; a row is deleted once the mail server has it. */
export const mails = pgTable(
  'mails',
  {
    id: text().primaryKey(),
    /** The kind of mail, for counting. */
    template: text().notNull(),
    messageEncrypted: text().notNull(),
    attempts: integer().notNull().default(0),
    /** Also the end of the lease of whoever is sending it. */
    nextAttemptAt: instant().notNull(),
    /** Set in development, where mails are kept for the outbox page instead of sent. */
    keptAt: instant(),
    createdAt: instant().notNull().defaultNow(),
  },
  (t) => [
    index('mails_next_attempt_at').on(t.nextAttemptAt),
    index('mails_kept_at').on(t.keptAt).where(sql`${t.keptAt} is not null`),
  ],
);

/** Authenticator apps (RFC 6238): one an account, in force once `confirmedAt` is set. */
export const totpSecrets = pgTable('totp_secrets', {
  accountId: text()
    .primaryKey()
    .references(() => users.id, { onDelete: 'cascade' }),
  secretEncrypted: text().notNull(),
  confirmedAt: instant(),
  /** The newest time step that was accepted: none is accepted twice. */
  lastStep: integer().notNull().default(0),
  createdAt: instant().notNull().defaultNow(),
});

export const recoveryCodes = pgTable(
  'recovery_codes',
  {
    codeHash: text().primaryKey(),
    accountId: text()
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    usedAt: instant(),
    createdAt: instant().notNull().defaultNow(),
  },
  (t) => [index('recovery_codes_account_id').on(t.accountId)],
);

/** WebAuthn credentials. */
export const passkeys = pgTable(
  'passkeys',
  {
    /** base64url, as browsers give it. */
    credentialId: text().primaryKey(),
    accountId: text()
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    publicKey: bytea().notNull(),
    counter: bigint({ mode: 'number' }).notNull(),
    transports: text().array().notNull().default([]),
    deviceType: text({ enum: ['singleDevice', 'multiDevice'] }).notNull(),
    backedUp: boolean().notNull(),
    name: text().notNull(),
    createdAt: instant().notNull().defaultNow(),
    lastUsedAt: instant(),
  },
  (t) => [index('passkeys_account_id').on(t.accountId)],
);

/** WebAuthn challenges: each is answered once, by the browser that holds its handle. */
export const passkeyChallenges = pgTable(
  'passkey_challenges',
  {
    idHash: text().primaryKey(),
    challenge: text().notNull(),
    purpose: text({ enum: ['registration', 'sign-in', 'second-factor'] }).notNull(),
    accountId: text(),
    expiresAt: instant().notNull(),
  },
  (t) => [index('passkey_challenges_expires_at').on(t.expiresAt)],
);

/** Browsers in which a person need not show the second factor again for a while; the cookie value is hashed. */
export const rememberedDevices = pgTable(
  'remembered_devices',
  {
    tokenHash: text().primaryKey(),
    accountId: text()
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    userAgent: text(),
    address: text(),
    createdAt: instant().notNull().defaultNow(),
    expiresAt: instant().notNull(),
  },
  (t) => [
    index('remembered_devices_account_id').on(t.accountId),
    index('remembered_devices_expires_at').on(t.expiresAt),
  ],
);

/** RFC 7591 client metadata with the wire's own names, without any secret. */
export type ClientMetadata = Record<string, unknown> & { redirect_uris?: string[] };

export const oidcClients = pgTable(
  'oidc_clients',
  {
    clientId: text().primaryKey(),
    metadata: jsonb().$type<ClientMetadata>().notNull(),
    /** bcrypt; null for a public client. */
    secretHash: text(),
    /** The secret before the last rotation, good until `previousSecretExpiresAt`. */
    previousSecretHash: text(),
    previousSecretExpiresAt: instant(),
    registrationTokenHash: text(),
    /**
     * Who vouches for it: `open` and `token` came through registration, `operator` through the command line; the metadata
     * of `document` are a copy of what is at its id, a web address (client ID metadata documents).
     */
    registeredBy: text({ enum: ['open', 'token', 'operator', 'document'] }).notNull(),
    /** The operator's own application: no consent page. */
    firstParty: boolean().notNull().default(false),
    /** The operator's words about the client to the APIs it calls: a claim of its access tokens. */
    authorizationMetadata: jsonb().$type<Record<string, unknown>>(),
    /**
     * When a token was first issued to it; a client from dynamic registration in which it stays null is deleted in time.
     * Clients from before this column count as used.
     */
    usedAt: instant().defaultNow(),
    /** When the document was last had and accepted, … */
    documentFetchedAt: instant(),
    /** … and until when nobody asks for it again. */
    documentFreshUntil: instant(),
    createdAt: instant().notNull().defaultNow(),
    updatedAt: instant().notNull().defaultNow(),
  },
  (t) => [
    index('oidc_clients_unused').on(t.createdAt).where(sql`${t.usedAt} is null and ${t.registeredBy} <> 'operator'`),
    // A client is the subject of its own tokens: it must not look like a person, nor like a pairwise subject.
    check('oidc_clients_id_is_nobodys', sql`left(${t.clientId}, 2) not in ('u_', 'p_')`),
  ],
);

/** APIs that access tokens are made for; `identifier` is the resource of RFC 8707 and the `aud` of the tokens. */
export const apis = pgTable('apis', {
  identifier: text().primaryKey(),
  name: text().notNull(),
  /** What a token may allow at this API: scope → what it means, in words for a person. */
  scopes: jsonb().$type<Record<string, string>>().notNull().default({}),
  tokenFormat: text({ enum: ['jwt', 'opaque'] })
    .notNull()
    .default('jwt'),
  /** Of tokens in JWT form (RFC 9068). */
  signingAlg: text({ enum: ['ES256', 'RS256', 'PS256', 'EdDSA'] })
    .notNull()
    .default('ES256'),
  tokenLifetimeSeconds: integer().notNull(),
  /** Any client may ask people for its scopes, without being allowed to one by one: for MCP servers and their like. */
  anyClient: boolean().notNull().default(false),
  createdAt: instant().notNull().defaultNow(),
  updatedAt: instant().notNull().defaultNow(),
});

/** What a client may do at an API: the scopes it may ask for, and whether it is the API's own side and may introspect. */
export const clientApis = pgTable(
  'client_apis',
  {
    clientId: text()
      .notNull()
      .references(() => oidcClients.clientId, { onDelete: 'cascade' }),
    apiIdentifier: text()
      .notNull()
      .references(() => apis.identifier, { onDelete: 'cascade' }),
    scopes: text().array().notNull().default([]),
    mayIntrospect: boolean().notNull().default(false),
  },
  (t) => [primaryKey({ columns: [t.clientId, t.apiIdentifier] }), index('client_apis_api').on(t.apiIdentifier)],
);

/** RFC 8693: which client may turn a token for one API into a token for another, and in whose name it then acts. */
export const tokenExchangePermissions = pgTable(
  'token_exchange_permissions',
  {
    clientId: text()
      .notNull()
      .references(() => oidcClients.clientId, { onDelete: 'cascade' }),
    subjectApi: text()
      .notNull()
      .references(() => apis.identifier, { onDelete: 'cascade' }),
    targetApi: text()
      .notNull()
      .references(() => apis.identifier, { onDelete: 'cascade' }),
    mode: text({ enum: ['impersonation', 'delegation'] }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.clientId, t.subjectApi, t.targetApi, t.mode] })],
);

/** RFC 9396: the types of authorization details that clients may send, and the members that each may have. */
export const authorizationDetailsTypes = pgTable('authorization_details_types', {
  type: text().primaryKey(),
  /** The API whose tokens carry such details. */
  apiIdentifier: text()
    .notNull()
    .references(() => apis.identifier, { onDelete: 'cascade' }),
  /** What the consent page says of it. */
  title: text().notNull(),
  /** Values that `actions` may have; empty forbids the member. */
  actions: text().array().notNull().default([]),
  /** Names of further members, shown to the person as they are. */
  fields: text().array().notNull().default([]),
});

/** A client's logo, copied once through the guarded fetch and served from this origin. */
export const clientLogos = pgTable('client_logos', {
  clientId: text()
    .primaryKey()
    .references(() => oidcClients.clientId, { onDelete: 'cascade' }),
  sourceUri: text().notNull(),
  /** Null when the last try did not give a usable picture. */
  contentType: text(),
  body: bytea(),
  fetchedAt: instant().notNull(),
});

/** RFC 7591 initial access tokens: who may register a client when registration is not open. */
export const initialAccessTokens = pgTable('initial_access_tokens', {
  tokenHash: text().primaryKey(),
  label: text(),
  /** Registrations left; null is no limit. */
  usesLeft: integer(),
  expiresAt: instant(),
  createdAt: instant().notNull().defaultNow(),
});

/** What an account allowed and refused a client, in whichever browser it said so. */
export const consents = pgTable(
  'consents',
  {
    accountId: text()
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    clientId: text()
      .notNull()
      .references(() => oidcClients.clientId, { onDelete: 'cascade' }),
    grantedScopes: text().array().notNull().default([]),
    refusedScopes: text().array().notNull().default([]),
    grantedClaims: text().array().notNull().default([]),
    refusedClaims: text().array().notNull().default([]),
    /** API identifier → scopes. */
    grantedApiScopes: jsonb().$type<Record<string, string[]>>().notNull().default({}),
    refusedApiScopes: jsonb().$type<Record<string, string[]>>().notNull().default({}),
    createdAt: instant().notNull().defaultNow(),
    updatedAt: instant().notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.accountId, t.clientId] }), index('consents_client_id').on(t.clientId)],
);

/** Every token-like model of the library, keyed by model and SHA-256 of its id (grant ids are no credentials: plain). */
export const oidcGrants = pgTable(
  'oidc_grants',
  {
    model: text().notNull(),
    id: text().notNull(),
    payload: jsonb().$type<Record<string, unknown>>().notNull(),
    grantId: text(),
    userCode: text(),
    accountId: text(),
    clientId: text(),
    /** Device codes are found by user code and saved again by their own id, so that one is kept encrypted. */
    idEncrypted: text(),
    expiresAt: instant(),
    consumedAt: instant(),
  },
  (t) => [
    primaryKey({ columns: [t.model, t.id] }),
    index('oidc_grants_grant_id').on(t.grantId).where(sql`${t.grantId} is not null`),
    uniqueIndex('oidc_grants_user_code').on(t.userCode).where(sql`${t.userCode} is not null`),
    index('oidc_grants_account_id').on(t.accountId).where(sql`${t.accountId} is not null`),
    index('oidc_grants_client_id').on(t.clientId).where(sql`${t.clientId} is not null`),
    index('oidc_grants_expires_at').on(t.expiresAt),
  ],
);

/** Browser sessions by their stable uid: changing the cookie value moves a handle, not the session. */
export const oidcSessions = pgTable(
  'oidc_sessions',
  {
    uid: text().primaryKey(),
    accountId: text(),
    payload: jsonb().$type<Record<string, unknown>>().notNull(),
    /** When the person signed in, as the library's `loginTs` (epoch seconds); 0 before sign-in. */
    loginTs: integer().notNull().default(0),
    /** Where it was signed in and last used, for the person to recognise. */
    userAgent: text(),
    address: text(),
    lastSeenAt: instant(),
    createdAt: instant().notNull().defaultNow(),
    expiresAt: instant().notNull(),
    /** An ended session stays for a day, so that a request still under way cannot bring it back. */
    endedAt: instant(),
  },
  (t) => [
    index('oidc_sessions_account_id').on(t.accountId).where(sql`${t.accountId} is not null`),
    index('oidc_sessions_expires_at').on(t.expiresAt),
    index('oidc_sessions_ended_at').on(t.endedAt).where(sql`${t.endedAt} is not null`),
  ],
);

/** The cookie values (SHA-256) that lead to a session; an old one may outlive its successor for some seconds. */
export const oidcSessionIds = pgTable(
  'oidc_session_ids',
  {
    idHash: text().primaryKey(),
    uid: text()
      .notNull()
      .references(() => oidcSessions.uid, { onDelete: 'cascade' }),
    until: instant(),
  },
  (t) => [
    index('oidc_session_ids_uid').on(t.uid),
    index('oidc_session_ids_until').on(t.until).where(sql`${t.until} is not null`),
  ],
);

/** Pending questions to a person. Finished and expired rows are kept for a while to offer a way on. */
export const oidcInteraction = pgTable(
  'oidc_interaction',
  {
    id: text().primaryKey(),
    payload: jsonb().$type<Record<string, unknown>>().notNull(),
    clientId: text(),
    accountId: text(),
    expiresAt: instant().notNull(),
    finishedAt: instant(),
  },
  (t) => [index('oidc_interaction_expires_at').on(t.expiresAt)],
);

/** Logout tokens still to be delivered (OIDC Back-Channel Logout 1.0), stored with the end of the session they tell of. */
export const backchannelLogouts = pgTable(
  'backchannel_logouts',
  {
    id: text().primaryKey(),
    clientId: text()
      .notNull()
      .references(() => oidcClients.clientId, { onDelete: 'cascade' }),
    accountId: text().notNull(),
    sid: text(),
    attempts: integer().notNull().default(0),
    /** Also the end of the lease of whoever is delivering it. */
    nextAttemptAt: instant().notNull(),
    createdAt: instant().notNull().defaultNow(),
  },
  (t) => [index('backchannel_logouts_next_attempt_at').on(t.nextAttemptAt)],
);

/** The key ring: `next` is published and does not sign yet, `current` signs, `retired` only verifies, `revoked` is gone. */
export const signingKeys = pgTable(
  'signing_keys',
  {
    /** RFC 7638 thumbprint. */
    kid: text().primaryKey(),
    alg: text().notNull(),
    state: text({ enum: ['next', 'current', 'retired', 'revoked'] }).notNull(),
    publicJwk: jsonb().$type<Record<string, unknown>>().notNull(),
    /** Null once revoked. */
    privateJwkEncrypted: text(),
    createdAt: instant().notNull().defaultNow(),
    /** When it began to sign. */
    activatedAt: instant(),
    /** When it stopped to sign, … */
    retiredAt: instant(),
    /** … and until when it verifies: when the last token it signed has expired, or when it was revoked. */
    publishedUntil: instant(),
  },
  (t) => [uniqueIndex('signing_keys_one_of_each').on(t.alg, t.state).where(sql`${t.state} in ('next', 'current')`)],
);

/**
 * What happened to accounts, clients, tokens and keys: one row an event, never changed; a trigger (audit_events_kept)
 * refuses it. No secret and no token is ever among the details.
 */
export const auditEvents = pgTable(
  'audit_events',
  {
    id: bigint({ mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    at: instant().notNull().defaultNow(),
    event: text().notNull(),
    accountId: text(),
    clientId: text(),
    sessionUid: text(),
    address: text(),
    userAgent: text(),
    requestId: text(),
    outcome: text({ enum: ['success', 'failure'] })
      .notNull()
      .default('success'),
    details: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    /** Its place in the chain, without gaps, and the hash that binds it to the one before; null for some seconds. */
    position: bigint({ mode: 'number' }),
    hash: text(),
  },
  (t) => [
    index('audit_events_at').on(t.at),
    index('audit_events_account_id').on(t.accountId).where(sql`${t.accountId} is not null`),
    index('audit_events_client_id').on(t.clientId).where(sql`${t.clientId} is not null`),
    uniqueIndex('audit_events_position').on(t.position),
    index('audit_events_unchained').on(t.id).where(sql`${t.position} is null`),
    check('audit_events_chained_whole', sql`(${t.position} is null) = (${t.hash} is null)`),
  ],
);

/** Where the audit log's chain begins, behind what retention removed, and where it ends: one row, sealed by a secret. */
export const auditChain = pgTable(
  'audit_chain',
  {
    name: text().primaryKey(),
    anchorPosition: bigint({ mode: 'number' }).notNull(),
    anchorHash: text().notNull(),
    headPosition: bigint({ mode: 'number' }).notNull(),
    headHash: text().notNull(),
    /** HMAC over the four. */
    seal: text().notNull(),
  },
  (t) => [check('audit_chain_is_one', sql`${t.name} = 'events'`)],
);

/** Fixed-window counters: rate limits and failures, shared by every instance. `key` never holds an address in clear. */
export const throttles = pgTable(
  'throttles',
  {
    key: text().primaryKey(),
    hits: integer().notNull(),
    windowEndsAt: instant().notNull(),
    /** Of tries that are judged (accounts/attempts.ts): nothing is before this. */
    pausedUntil: instant(),
    /** What kind of tries, … */
    kind: text(),
    /** … and the digest of whose they were, so that an operator finds them. */
    subject: text(),
  },
  (t) => [
    index('throttles_window_ends_at').on(t.windowEndsAt),
    index('throttles_subject').on(t.subject).where(sql`${t.subject} is not null`),
  ],
);

/** The playground's own memory of a run, as a relying party would keep it; encrypted, since it holds tokens. */
export const playgroundRuns = pgTable(
  'playground_runs',
  {
    idHash: text().primaryKey(),
    payloadEncrypted: text().notNull(),
    expiresAt: instant().notNull(),
  },
  (t) => [index('playground_runs_expires_at').on(t.expiresAt)],
);

/** Secrets that must stay the same for ever and on every instance, such as the salt of pairwise subjects; encrypted. */
export const providerSecrets = pgTable('provider_secrets', {
  name: text().primaryKey(),
  valueEncrypted: text().notNull(),
});

/** Work that one instance does for all: whoever holds it now, and until when nobody else may. */
export const leases = pgTable('leases', {
  name: text().primaryKey(),
  holder: text().notNull(),
  until: instant().notNull(),
});

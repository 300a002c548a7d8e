/**
 * The fence around oidc-provider: no other folder imports the library, and Koa's `ctx` does not leave this one. What
 * goes out is `OpenIdProvider`, a few verbs in our own words. No rule about people, clients or pages is decided here.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type JWK, type JWKS, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { AuthorizationDetailsType } from '../apis/authorization-details-types.ts';
import { publicPart } from '../keys/key-pairs.ts';
import type { SigningKey } from '../keys/signing-keys.ts';
import { answerHeldErrorInQuery, answerMiddleware } from './answers.ts';
import { keepLogoutTokensForDelivery } from './backchannel-logout.ts';
import { noteFirstToken } from './client-registration.ts';
import { signOutOfClient } from './client-sign-out.ts';
import { buildConfiguration, type ConfigurationDependencies } from './configuration.ts';
import { deviceMiddleware } from './device-flow.ts';
import { listenToEvents, type NoteEvent } from './events.ts';
import { answerAboutJwt } from './introspection.ts';
import { keepClients } from './kept-clients.ts';
import { markOutage } from './outage.ts';
import { createPublicMetadata, type KeptAnswer, type PublicMetadata } from './public-metadata.ts';
import { keepReusedTokenForItsRecord } from './refresh-tokens.ts';
import { tellReplaysAlike } from './replay-detection.ts';
import { noteFacts } from './request-facts.ts';
import { type RequestMemo, requestMemo } from './request-memo.ts';
import { registerTokenExchange } from './token-exchange.ts';
import { limitUserCodes } from './user-codes.ts';

export type ProviderDependencies = ConfigurationDependencies & {
  issuer: string;
  /** Reads the signing keys, the one that signs first for each algorithm. */
  loadKeys: () => Promise<SigningKey[]>;
  /** Reads the registered types of authorization details. */
  loadAuthorizationDetailsTypes: () => Promise<AuthorizationDetailsType[]>;
  /** Compares a presented client secret with what is stored for the client. */
  verifyClientSecret: (clientId: string, presented: string) => Promise<boolean>;
  noteEvent: NoteEvent;
};

/** The provider that is current. Keys are fixed when a provider is made, so new keys mean a new provider. */
export type ProviderHandle = {
  readonly current: Provider;
  /** Handles a request below the mount, with `req.url` relative to it. */
  callback(req: IncomingMessage, res: ServerResponse): Promise<void>;
  /** What it answered at a path where all are answered alike, when it was asked before. */
  publicMetadata(path: string): KeptAnswer | undefined;
  /** The `kid` of each of its keys, in signing order. */
  readonly keyIds: readonly string[];
  readonly authorizationDetailsTypes: readonly AuthorizationDetailsType[];
  /**
   * Makes a provider of what is stored now, keys included, and swaps it in; requests under way finish on the old one.
   * When that fails the old one stays.
   */
  reload(): Promise<void>;
};

export async function createProvider(given: ProviderDependencies): Promise<ProviderHandle> {
  const dependencies = { ...given, ...withMemo(given) };
  let served = await make();
  let made = 0;
  let installed = 0;
  return {
    get current() {
      return served.provider;
    },
    get keyIds() {
      return served.keyIds;
    },
    get authorizationDetailsTypes() {
      return served.types;
    },
    callback: (req, res) => served.callback(req, res),
    publicMetadata: (path) => served.metadata.kept(path),
    async reload() {
      made += 1;
      const turn = made;
      const fresh = await make();
      // Of two at once, the one that began to read first may come last.
      if (turn < installed) return;
      installed = turn;
      served = fresh;
    },
  };

  async function make() {
    const keys = await dependencies.loadKeys();
    const types = await dependencies.loadAuthorizationDetailsTypes();
    const metadata = createPublicMetadata();
    const provider = build(dependencies, { keys, types, metadata });
    return { provider, types, metadata, keyIds: keys.map(({ kid }) => kid), callback: provider.callback() };
  }
}

function build(
  dependencies: RememberingDependencies,
  { keys, types, metadata }: { keys: SigningKey[]; types: AuthorizationDetailsType[]; metadata: PublicMetadata },
): Provider {
  const jwks: JWKS = { keys: keys as JWK[] };
  const provider = new Provider(dependencies.issuer, buildConfiguration(dependencies, jwks, types));
  // Host and protocol of every request are set from the issuer before the mount.
  provider.proxy = true;
  keepClients(provider);
  compareSecretsByHash(provider, dependencies);
  keepOldSessionIdUntilNewIsStored(provider);
  keepLogoutTokensForDelivery(provider);
  keepReusedTokenForItsRecord(provider);
  tellReplaysAlike(provider);
  limitUserCodes(provider, dependencies.db);
  listenToEvents(provider, dependencies.noteEvent);
  noteFirstToken(provider, dependencies.clients, dependencies.noteEvent);
  provider.on('authorization.error', answerHeldErrorInQuery);
  provider.use((ctx, next) => noteFacts(ctx as KoaContextWithOIDC, next));
  provider.use((_ctx, next) => dependencies.memo.during(next));
  provider.use((ctx, next) => metadata.middleware(ctx as KoaContextWithOIDC, next));
  provider.use((ctx, next) => markOutage(answerMiddleware(dependencies.pages, ctx as KoaContextWithOIDC, next)));
  provider.use((ctx, next) => markOutage(deviceMiddleware(dependencies.db, ctx as KoaContextWithOIDC, next)));
  provider.use((ctx, next) => markOutage(signOutOfClient(dependencies, ctx as KoaContextWithOIDC, next)));
  const publicKeys = { keys: keys.map(publicPart) };
  registerTokenExchange(provider, { ...dependencies, jwks: publicKeys });
  provider.use(async (ctx, next) => {
    const answered = await answerAboutJwt(dependencies, publicKeys, ctx as KoaContextWithOIDC, next);
    if (answered) dependencies.noteEvent(ctx.res, 'introspection of a JWT');
  });
  return provider;
}

type RememberingDependencies = ProviderDependencies & { memo: RequestMemo };

/** Accounts that were read along with a token are not read again. */
function withMemo({ accountClaims }: ProviderDependencies): Pick<RememberingDependencies, 'memo' | 'accountClaims'> {
  const memo = requestMemo();
  return {
    memo,
    async accountClaims(sub) {
      const { accounts } = memo.known ?? {};
      if (!accounts?.has(sub)) return accountClaims(sub);
      const account = accounts.get(sub);
      accounts.delete(sub);
      return account && accountClaims(sub, account);
    },
  };
}

/** Only a hash is stored, so the library's comparison of texts cannot work. */
function compareSecretsByHash(provider: Provider, { verifyClientSecret }: ProviderDependencies): void {
  const client = provider.Client.prototype as { clientId: string; compareClientSecret: unknown };
  client.compareClientSecret = async function compareClientSecret(this: { clientId: string }, presented: string) {
    return markOutage(verifyClientSecret(this.clientId, presented));
  };
}

type RenamingSession = {
  id: string;
  oldId?: string | undefined;
  adapter: { rename(oldId: string): Promise<void> };
};

/**
 * The library destroys the old id of a session before it stores the new one. In that gap another tab would find no
 * session, and with our storage the whole session would end; so the new one is stored first.
 */
function keepOldSessionIdUntilNewIsStored(provider: Provider): void {
  const prototype = provider.Session.prototype as { save(ttl: number): Promise<string> };
  const { save } = prototype;
  prototype.save = async function saveThenRetire(this: RenamingSession & typeof prototype, ttl) {
    const { oldId } = this;
    this.oldId = undefined;
    const value = await save.call(this, ttl);
    if (oldId) await this.adapter.rename(oldId);
    return value;
  };
}

/**
 * The fence around oidc-provider: no other folder imports the library, and Koa's `ctx` does not leave this one. What
 * goes out is `OpenIdProvider`, a few verbs in our own words. No rule about people, clients or pages is decided here.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type JWK, type JWKS, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { answerHeldErrorInQuery, answerMiddleware } from './answers.ts';
import { buildConfiguration, type ConfigurationDependencies } from './configuration.ts';
import { listenToEvents, type NoteEvent } from './events.ts';
import { markOutage } from './outage.ts';

export type ProviderDependencies = ConfigurationDependencies & {
  issuer: string;
  /** Reads the signing keys, the one that signs first for each algorithm. */
  loadKeys: () => Promise<object[]>;
  /** Compares a presented client secret with what is stored for the client. */
  verifyClientSecret: (clientId: string, presented: string) => Promise<boolean>;
  noteEvent: NoteEvent;
};

/** The provider that is current. Keys are fixed when a provider is made, so new keys mean a new provider. */
export type ProviderHandle = {
  readonly current: Provider;
  /** Handles a request below the mount, with `req.url` relative to it. */
  callback(req: IncomingMessage, res: ServerResponse): Promise<void>;
  /** Reads the keys again and swaps the provider; requests under way finish on the old one. */
  reloadKeys(): Promise<void>;
};

export async function createProvider(dependencies: ProviderDependencies): Promise<ProviderHandle> {
  let current = build(dependencies, await dependencies.loadKeys());
  let callback = current.callback();
  return {
    get current() {
      return current;
    },
    callback: (req, res) => callback(req, res),
    async reloadKeys() {
      current = build(dependencies, await dependencies.loadKeys());
      callback = current.callback();
    },
  };
}

function build(dependencies: ProviderDependencies, keys: object[]): Provider {
  const jwks: JWKS = { keys: keys as JWK[] };
  const provider = new Provider(dependencies.issuer, buildConfiguration(dependencies, jwks));
  // Host and protocol of every request are set from the issuer before the mount.
  provider.proxy = true;
  compareSecretsByHash(provider, dependencies);
  keepOldSessionIdUntilNewIsStored(provider);
  listenToEvents(provider, dependencies.noteEvent);
  provider.on('authorization.error', answerHeldErrorInQuery);
  provider.use((ctx, next) => markOutage(answerMiddleware(dependencies.pages, ctx as KoaContextWithOIDC, next)));
  return provider;
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

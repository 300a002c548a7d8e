import type { ClientMetadata } from '../db/schema.ts';
import type { ProviderHandle } from './provider.ts';

/** What the library's class does and its type declarations leave out. */
type ClientClass = {
  validate(metadata: object): Promise<void>;
  new (metadata: object): { metadata(): ClientMetadata };
};

/**
 * The library's own validator, for every door through which a client comes in. Answers the metadata with its defaults.
 * Rejects with the library's errors, which carry RFC 7591 codes (`error`, `error_description`, `status`).
 */
export function clientValidator(provider: Pick<ProviderHandle, 'current'>) {
  return async (metadata: ClientMetadata): Promise<ClientMetadata> => {
    const Client = provider.current.Client as unknown as ClientClass;
    await Client.validate(metadata);
    return new Client(metadata).metadata();
  };
}

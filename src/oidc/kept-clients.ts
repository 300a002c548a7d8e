import type { Provider } from 'oidc-provider';

type ClientModel = {
  adapter: { find(id: string): Promise<object | undefined> };
  find(id: unknown): Promise<object | undefined>;
};

/**
 * The library looks for its model of a client by a hash of all metadata, among the last hundred or two, and makes others
 * anew, which takes as long as the rest of a token request. So its model is kept for as long as the storage of clients
 * answers with the same object.
 */
export function keepClients(provider: Provider): void {
  const Client = provider.Client as unknown as ClientModel;
  const { find } = Client;
  const models = new WeakMap<object, object>();
  Client.find = async (id) => {
    if (typeof id !== 'string' || id === '') return undefined;
    const stored = await Client.adapter.find(id);
    if (!stored) return undefined;
    const known = models.get(stored);
    if (known) return known;
    const model = await find.call(Client, id);
    if (model) models.set(stored, model);
    return model;
  };
}

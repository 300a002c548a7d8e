import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';
import { expect, test } from 'vitest';
import { keepClients } from '../../src/oidc/kept-clients.ts';

const metadata = (clientId: string) => ({
  client_id: clientId,
  client_secret: 'secret',
  redirect_uris: ['https://rp.example/cb'],
});

/** The library over stored clients, which are the same objects until they change. */
async function setUp() {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const stored = new Map<string, object>();
  class Clients {
    find = async (id: string) => stored.get(id);
  }
  const provider = new Provider('https://op.example', {
    adapter: Clients as never,
    jwks: { keys: [await exportJWK(privateKey)] },
    cookies: { keys: ['unused'] },
    features: { devInteractions: { enabled: false } },
  });
  keepClients(provider);
  return { provider, stored };
}

test('the model of a client is made once, however many others are used in between', async () => {
  const { provider, stored } = await setUp();
  const ids = Array.from({ length: 300 }, (_, at) => `c_${at}`);
  for (const id of ids) stored.set(id, metadata(id));
  const first = await Promise.all(ids.map((id) => provider.Client.find(id)));
  const again = await Promise.all(ids.map((id) => provider.Client.find(id)));
  expect(again.map((client) => client?.clientId)).toEqual(ids);
  expect(again.every((client, at) => client === first[at])).toBe(true);
});

test('one that has changed is made anew, and one that is gone is none', async () => {
  const { provider, stored } = await setUp();
  stored.set('c_1', metadata('c_1'));
  const before = await provider.Client.find('c_1');
  stored.set('c_1', { ...metadata('c_1'), redirect_uris: ['https://rp.example/other'] });
  const after = await provider.Client.find('c_1');
  expect([before?.redirectUris, after?.redirectUris]).toEqual([
    ['https://rp.example/cb'],
    ['https://rp.example/other'],
  ]);
  stored.delete('c_1');
  expect(await provider.Client.find('c_1')).toBeUndefined();
  expect(await provider.Client.find('')).toBeUndefined();
});

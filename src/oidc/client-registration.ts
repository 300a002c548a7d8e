import type { Configuration, KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { ClientStorage } from './adapter.ts';
import type { NoteEvent } from './events.ts';

export type RegistrationPolicy = {
  issuer: string;
  clientRegistration: 'open' | 'token' | 'closed';
  clientIdMetadataDocuments: boolean;
};

/**
 * What discovery says about becoming a client. The library's registration is off: `/reg` is the second door of
 * clients/clients.routes.ts, which stands before the mount.
 */
export function registrationMetadata(policy: RegistrationPolicy): NonNullable<Configuration['discovery']> {
  return {
    ...(policy.clientRegistration !== 'closed' && { registration_endpoint: `${policy.issuer}/reg` }),
    ...(policy.clientIdMetadataDocuments && { client_id_metadata_document_supported: true }),
  };
}

/**
 * Notes the first token of a client that is deleted if it never gets one. From the second on its stored form says so, and
 * nothing is asked of the database. A failure costs the note and not the token, which the client could not get again.
 */
export function noteFirstToken(provider: Provider, clients: ClientStorage, noteEvent: NoteEvent): void {
  provider.use(async (ctx, next) => {
    await next();
    const { oidc } = ctx as Partial<KoaContextWithOIDC>;
    if (oidc?.route !== 'token' || ctx.status !== 200 || oidc.client?.unused !== true) return;
    await clients
      .markUsed(oidc.client.clientId)
      .catch((error: Error) => noteEvent(ctx.res, 'the first token of a client was not noted', error));
  });
}

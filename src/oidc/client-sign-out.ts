import type { KoaContextWithOIDC } from 'oidc-provider';
import type { AdapterDependencies } from './adapter.ts';
import { leaveClient } from './session-end.ts';

/**
 * "Stay signed in" on the page that a client led to: the session goes on and ends for that client alone. The library
 * takes the client out of its own copy of the session, and stored copies are merged, so it is taken out there here.
 */
export async function signOutOfClient(
  { db, deliverLogouts }: Pick<AdapterDependencies, 'db' | 'deliverLogouts'>,
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
): Promise<void> {
  await next();
  const { oidc } = ctx;
  if (oidc?.route !== 'end_session_confirm' || ctx.status !== 303 || oidc.params?.logout) return;
  if (!oidc.client || !oidc.session) return;
  await leaveClient(db, oidc.session.uid, oidc.client.clientId);
  deliverLogouts?.();
}

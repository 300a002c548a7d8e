/** A code that comes a second time ends all that came of it (RFC 6749 §4.1.2, SECURITY 11), with the record of that. */
import { and, eq } from 'drizzle-orm';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { oidcGrants } from '../db/schema.ts';
import { deleteGrants, storedId } from './artifacts.ts';
import { requestSource } from './request-source.ts';

const codes: Record<string, { model: string; parameter: 'code' | 'device_code' }> = {
  authorization_code: { model: 'AuthorizationCode', parameter: 'code' },
  'urn:ietf:params:oauth:grant-type:device_code': { model: 'DeviceCode', parameter: 'device_code' },
};

/**
 * Asked where the library is about to revoke a grant: at the token endpoint and for these grant types it does so for no
 * other reason than a code that was used before. Of several at once one ends the grant, and there is one record.
 */
export async function endReusedCode(db: Database, ctx: KoaContextWithOIDC): Promise<void> {
  const { route, params } = ctx.oidc;
  const used = route === 'token' ? codes[String(params?.grant_type)] : undefined;
  if (!used) return;
  const { model, parameter } = used;
  const id = storedId(model, String(params?.[parameter]));
  await db.transaction(async (tx) => {
    const [code] = await tx
      .select()
      .from(oidcGrants)
      .where(and(eq(oidcGrants.model, model), eq(oidcGrants.id, id)));
    if (!code?.grantId || !code.consumedAt) return;
    const { grantId, accountId, clientId, consumedAt } = code;
    const deleted = await deleteGrants(tx, [grantId]);
    if (!deleted.some((row) => row.model === model && row.id === id)) return;
    await record(tx, {
      event: 'code.reused',
      accountId: accountId ?? undefined,
      clientId: clientId ?? undefined,
      source: requestSource(ctx),
      details: {
        grant_type: params?.grant_type,
        seconds_since_use: Math.floor((Date.now() - consumedAt.getTime()) / 1000),
        grant_id: grantId,
      },
    });
  });
}

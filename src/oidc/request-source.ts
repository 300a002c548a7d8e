import type { KoaContextWithOIDC } from 'oidc-provider';
import type { AuditSource } from '../audit/events.ts';
import { auditSource } from '../audit/record.ts';

/** Where a request at a protocol endpoint came from: the library's context holds Express's own objects. */
export function requestSource({ req, res }: Pick<KoaContextWithOIDC, 'req' | 'res'>): AuditSource {
  return auditSource(...([req, res] as unknown as Parameters<typeof auditSource>));
}

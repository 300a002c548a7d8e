/** The name by which a client's certificate is known (RFC 8705 §2.1.2), which nothing else looks at until it is used. */
import { isIP } from 'node:net';
import type { ClientMetadata } from '../db/schema.ts';
import type { Issue } from '../http/errors.ts';
import { parseDistinguishedName } from '../lib/certificate-names.ts';

const kinds: Record<string, [isOfKind: (name: string) => boolean, expected: string]> = {
  tls_client_auth_subject_dn: [
    (name) => parseDistinguishedName(name) !== undefined,
    'must be a distinguished name as in RFC 4514, such as CN=service,O=Example,C=GB',
  ],
  tls_client_auth_san_dns: [(name) => /^(?!\.)[a-z0-9*._-]+$/i.test(name), 'must be a host name'],
  tls_client_auth_san_uri: [URL.canParse, 'must be a URI'],
  tls_client_auth_san_ip: [(name) => isIP(name) > 0, 'must be an IP address'],
  tls_client_auth_san_email: [(name) => /^[^@\s]+@[^@\s]+$/.test(name), 'must be an e-mail address'],
};

export function certificateNameIssues(metadata: ClientMetadata): Issue[] {
  return Object.entries(kinds).flatMap(([path, [isOfKind, message]]) => {
    const name = metadata[path];
    return name === undefined || (typeof name === 'string' && isOfKind(name)) ? [] : [{ path, message }];
  });
}

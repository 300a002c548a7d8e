/** The names in a certificate, compared with what a client registered (RFC 8705 §2.1.2). */
import type { X509Certificate } from 'node:crypto';

/** By client metadata name, whether the certificate bears `expected`. */
export const certificateBears: Record<string, (certificate: X509Certificate, expected: string) => boolean> = {
  tls_client_auth_subject_dn: (certificate, expected) => {
    // The certificate lists its names from the country down, a line each; the text form of RFC 4514 is turned round.
    const actual = parseNames((certificate.subject ?? '').split('\n').reverse());
    const wanted = parseDistinguishedName(expected);
    return wanted !== undefined && JSON.stringify(actual) === JSON.stringify(wanted);
  },
  tls_client_auth_san_dns: (certificate, expected) =>
    alternativeNames(certificate, 'DNS').some((name) => name.toLowerCase() === expected.toLowerCase()),
  tls_client_auth_san_uri: (certificate, expected) => alternativeNames(certificate, 'URI').includes(expected),
  tls_client_auth_san_email: (certificate, expected) => alternativeNames(certificate, 'email').includes(expected),
  // Addresses have several spellings, so OpenSSL compares them.
  tls_client_auth_san_ip: (certificate, expected) => certificate.checkIP(expected) !== undefined,
};

/** RFC 4514: `CN=service,O=Example,C=GB`, as comparable parts; undefined for anything else. */
export function parseDistinguishedName(text: string): string[][] | undefined {
  return parseNames(splitUnescaped(text, ','));
}

function parseNames(parts: readonly string[]): string[][] | undefined {
  const names = parts.map((part) => splitUnescaped(part, '+').map(parseAttribute));
  if (names.some((attributes) => attributes.includes(undefined))) return undefined;
  return names.map((attributes) => (attributes as string[]).sort());
}

function parseAttribute(text: string): string | undefined {
  const [, type = '', value = ''] = /^\s*([a-z][a-z0-9-]*|\d+(?:\.\d+)+)\s*=\s*(.*)$/is.exec(text) ?? [];
  if (type === '' || value === '' || value.startsWith('#')) return undefined;
  const name = type.toUpperCase();
  return `${otherTypeNames[name] ?? name}=${unescaped(value)}`;
}

/** Object identifiers and long names, by the names that OpenSSL gives them. */
const otherTypeNames: Record<string, string> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'SERIALNUMBER',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  S: 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.15': 'BUSINESSCATEGORY',
  '2.5.4.97': 'ORGANIZATIONIDENTIFIER',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'EMAILADDRESS',
  E: 'EMAILADDRESS',
};

/** Cuts at each `separator` that no backslash stands before. */
function splitUnescaped(text: string, separator: ',' | '+'): string[] {
  const parts = [''];
  for (const token of text.match(/\\[\s\S]|[\s\S]/g) ?? []) {
    if (token === separator) parts.push('');
    else parts[parts.length - 1] += token;
  }
  return parts;
}

/** `\,` is a comma, and `\C3\A9` two bytes of UTF-8; white space around a value is not part of it unless escaped. */
function unescaped(text: string): string {
  const tokens = text.replace(/(?<!\\)\s+$/, '').match(/\\[0-9a-f]{2}|\\[\s\S]|[^\\]+/gi) ?? [];
  const bytes = tokens.map((token) => {
    if (!token.startsWith('\\')) return Buffer.from(token);
    return token.length === 3 ? Buffer.from(token.slice(1), 'hex') : Buffer.from(token.slice(1));
  });
  return Buffer.concat(bytes).toString();
}

/** Node writes `DNS:a.example, URI:https://…`, and as a JSON text whatever could be taken for more than one name. */
function alternativeNames({ subjectAltName }: X509Certificate, kind: string): string[] {
  const names = subjectAltName?.match(/[a-z ]+:(?:"(?:[^"\\]|\\.)*"|[^,"]*)/gi) ?? [];
  return names.flatMap((name) => {
    const [type, value = ''] = [name.slice(0, name.indexOf(':')).trim(), name.slice(name.indexOf(':') + 1)];
    if (type !== kind) return [];
    return value.startsWith('"') ? [JSON.parse(value) as string] : [value];
  });
}

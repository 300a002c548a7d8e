import type { X509Certificate } from 'node:crypto';

/**
 * Whether one of `authorities`, all of them trusted, issued `certificate` for clients and both are valid now. The
 * authority must be the immediate one; a longer chain is not followed, and revocation lists are not asked.
 */
export function isIssuedByOneOf(certificate: X509Certificate, authorities: readonly X509Certificate[]): boolean {
  if (!isValidNow(certificate) || !isForClients(certificate) || hasWeakSignature(certificate)) return false;
  return authorities.some(
    (authority) =>
      authority.ca &&
      isValidNow(authority) &&
      certificate.checkIssued(authority) &&
      certificate.verify(authority.publicKey),
  );
}

function isValidNow({ validFromDate, validToDate }: X509Certificate): boolean {
  const now = Date.now();
  return validFromDate.getTime() <= now && now <= validToDate.getTime();
}

const clientAuthentication = '1.3.6.1.5.5.7.3.2';
const anyExtendedKeyUsage = '2.5.29.37.0';

/** RFC 5280 §4.2.1.12: a certificate that names its purposes serves no other one. Node calls them `keyUsage`. */
function isForClients({ keyUsage }: X509Certificate): boolean {
  const purposes = keyUsage as readonly string[] | undefined;
  return (
    !purposes ||
    purposes.length === 0 ||
    purposes.some((oid) => oid === clientAuthentication || oid === anyExtendedKeyUsage)
  );
}

function hasWeakSignature({ signatureAlgorithm }: X509Certificate): boolean {
  return /md[245]|sha-?1(?!\d)/i.test(signatureAlgorithm ?? '');
}

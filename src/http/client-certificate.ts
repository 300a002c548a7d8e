/**
 * The certificate that a client showed in its TLS handshake, which proves that it holds the key: seen by this server
 * itself on its port for certificates, or by a trusted proxy that hands it on in a header.
 */
import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { RequestHandler } from 'express';

/** @param header in lower case; undefined when no proxy hands certificates on */
export function readClientCertificate(req: IncomingMessage, header: string | undefined): X509Certificate | undefined {
  if (req.socket instanceof TLSSocket) {
    const seen = req.socket.getPeerX509Certificate();
    if (seen) return seen;
  }
  const value = header === undefined ? undefined : req.headers[header];
  return typeof value === 'string' && value !== '' ? parse(value) : undefined;
}

/**
 * RFC 9440 (`:base64:`), nginx (percent-encoded PEM) or HAProxy (base64). What is none of them is no certificate, and so
 * are two: of a header that came twice, a proxy and its visitor may have written one each.
 */
function parse(value: string): X509Certificate | undefined {
  try {
    const [, pem, base64 = pem] = oneCertificate.exec(decodeURIComponent(value).trim()) ?? [];
    return base64 === undefined ? undefined : new X509Certificate(Buffer.from(base64, 'base64'));
  } catch {
    return undefined;
  }
}

const oneCertificate =
  /^(?:-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----|:?([A-Za-z0-9+/]+=*):?)$/;

/** Takes the header away from everybody but the trusted proxies: certificates are public, and anybody could send one. */
export function clientCertificateHeader(header: string): RequestHandler {
  return (req, _res, next) => {
    const trusts = req.app.get('trust proxy fn') as (address: string | undefined, hop: number) => boolean;
    if (!trusts(req.socket.remoteAddress, 0)) delete req.headers[header];
    next();
  };
}

/** The kinds of value that are keys and certificates, given as PEM text or as the path of a file: values.ts, continued. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { value } from './values.ts';

/** The PEM text of a signing key, whether the text itself or a path was given; `\n` may stand for a line break. */
export function signingKey() {
  return value(
    'an unencrypted PKCS#8 PEM ("BEGIN PRIVATE KEY") of an RSA key of 2048 bits or more or of an EC P-256 key, or the path of such a file; `openssl pkcs8 -topk8 -nocrypt` converts other PEMs',
    (text) => {
      const pem = text.startsWith('-----') ? text.replaceAll('\\n', '\n') : readFileSync(text, 'utf8').trim();
      if (!pem.startsWith('-----BEGIN PRIVATE KEY-----')) return undefined;
      const key = createPrivateKey(pem);
      const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {};
      const usable =
        (key.asymmetricKeyType === 'rsa' && modulusLength >= 2048) ||
        (key.asymmetricKeyType === 'ec' && namedCurve === 'prime256v1');
      return usable ? key.export({ type: 'pkcs8', format: 'pem' }).toString() : undefined;
    },
  );
}

export function certificateFile() {
  return value('the path of a readable PEM certificate', (text) => {
    new X509Certificate(readFileSync(text));
    return path.resolve(text);
  });
}

export function privateKeyFile() {
  return value('the path of a readable, unencrypted PEM private key', (text) => {
    createPrivateKey(readFileSync(text));
    return path.resolve(text);
  });
}

/** The certificates of a PEM file, one or more, each that of an authority. */
export function authoritiesFile() {
  return value('the path of a readable PEM file of certificates that may issue others (CA:TRUE)', (text) => {
    const pems = readFileSync(text, 'utf8').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    const authorities = pems.map((pem) => new X509Certificate(pem));
    return authorities.length > 0 && authorities.every(({ ca }) => ca) ? authorities : undefined;
  });
}

/** Whether the private key in `keyFile` is the one that `certFile` certifies. Both files must be well-formed. */
export function keyMatchesCertificate(certFile: string, keyFile: string): boolean {
  return new X509Certificate(readFileSync(certFile)).checkPrivateKey(createPrivateKey(readFileSync(keyFile)));
}

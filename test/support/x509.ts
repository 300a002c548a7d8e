/** Certificates for tests: Node reads them but makes none, so here is as much of X.509 (RFC 5280) as clients need. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

type Name = readonly (readonly [type: keyof typeof types, value: string])[];

export type Holder = { subject: Name; privateKey: KeyObject; publicKey: KeyObject; pem: string };

type Wish = {
  /** From the country down, as certificates have it. */
  subject: Name;
  /** Signs itself when absent. */
  issuer?: Holder;
  ca?: boolean;
  notBefore?: Date;
  notAfter?: Date;
  names?: { dns?: string; uri?: string; email?: string; ip?: string };
  /** RFC 5280 §4.2.1.12. */
  purpose?: 'client' | 'server';
};

/** A certificate with a key of its own (P-256). Valid from a day ago for a year unless told otherwise. */
export function createCertificate(wish: Wish): Holder {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const dayMs = 86_400_000;
  const { subject, notBefore = new Date(Date.now() - dayMs), notAfter = new Date(Date.now() + 365 * dayMs) } = wish;
  const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));
  const body = sequence(
    tlv(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ecdsaWithSha256,
    nameOf(wish.issuer?.subject ?? subject),
    sequence(time(notBefore), time(notAfter)),
    nameOf(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensionsOf(wish))),
  );
  const signature = sign('sha256', body, wish.issuer?.privateKey ?? privateKey);
  const der = sequence(body, ecdsaWithSha256, tlv(0x03, Buffer.from([0]), signature));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  const pem = `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  return { subject, privateKey, publicKey, pem };
}

export function privateKeyPem({ privateKey }: Holder): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** The certificate as `x5c` has it: base64 without the frame. */
export function base64Of({ pem }: Holder): string {
  return pem.replace(/-----[^-]+-----|\s/g, '');
}

const types = {
  C: '2.5.4.6',
  O: '2.5.4.10',
  OU: '2.5.4.11',
  CN: '2.5.4.3',
  organizationIdentifier: '2.5.4.97',
};

function extensionsOf({ ca = false, names = {}, purpose }: Wish): Buffer[] {
  const basic = extension('2.5.29.19', true, sequence(...(ca ? [tlv(0x01, Buffer.from([0xff]))] : [])));
  const alternatives = [
    names.email && tlv(0x81, Buffer.from(names.email)),
    names.dns && tlv(0x82, Buffer.from(names.dns)),
    names.uri && tlv(0x86, Buffer.from(names.uri)),
    names.ip && tlv(0x87, Buffer.from(names.ip.split('.').map(Number))),
  ].filter((name): name is Buffer => Buffer.isBuffer(name));
  const purposes = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' };
  return [
    basic,
    ...(alternatives.length > 0 ? [extension('2.5.29.17', false, sequence(...alternatives))] : []),
    ...(purpose ? [extension('2.5.29.37', false, sequence(oid(purposes[purpose])))] : []),
  ];
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [tlv(0x01, Buffer.from([0xff]))] : []), tlv(0x04, value));
}

function nameOf(name: Name): Buffer {
  return sequence(...name.map(([type, value]) => tlv(0x31, sequence(oid(types[type]), tlv(0x0c, Buffer.from(value))))));
}

function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, '');
  return date.getUTCFullYear() < 2050 ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits));
}

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = rest.flatMap((part) => {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return tlv(0x06, Buffer.from([first * 40 + second, ...bytes]));
}

function integer(value: Buffer): Buffer {
  return tlv(0x02, value);
}

function sequence(...content: Buffer[]): Buffer {
  return tlv(0x30, ...content);
}

function tlv(tag: number, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const size = body.length;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

/**
 * A passkey in software, so that each thing a browser or a device could say wrongly can be said: ES256 keys, a counter,
 * and the little CBOR (RFC 8949) that WebAuthn needs. What it is not told otherwise it does as a good device would.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

type Cbor = number | string | Buffer | Map<Cbor, Cbor>;

export type Answering = {
  origin?: string;
  rpId?: string;
  challenge?: string;
  type?: string;
  crossOrigin?: boolean;
  userPresent?: boolean;
  userVerified?: boolean;
  /** Undefined leaves it out. */
  userHandle?: string | undefined;
  counter?: number;
  backedUp?: boolean;
  signWith?: KeyObject;
};

export type MakingOptions = Pick<Answering, 'origin' | 'rpId' | 'challenge' | 'type' | 'crossOrigin'> & {
  fmt?: string;
  attStmt?: Map<Cbor, Cbor>;
  algorithm?: number;
};

type CreationOptions = { challenge: string; rp: { id?: string }; user: { id: string } };
type RequestOptions = { challenge: string; rpId?: string };

export type SoftPasskey = ReturnType<typeof createPasskey>;

/** A device that will keep one passkey, for the site at `origin`. `steps` false: a counter that stays 0, as synced ones have. */
export function createPasskey(origin: string, { id = randomBytes(32), steps = true, synced = false } = {}) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const credentialId = id.toString('base64url');
  const site = { origin, rpId: new URL(origin).hostname };
  let counter = 0;
  let userHandle = '';

  function clientData(type: string, challenge: string, said: Answering): Buffer {
    return Buffer.from(
      JSON.stringify({
        type: said.type ?? type,
        challenge: said.challenge ?? challenge,
        origin: said.origin ?? site.origin,
        crossOrigin: said.crossOrigin ?? false,
      }),
    );
  }

  function authenticatorData(said: Answering, flags: number, attested = Buffer.alloc(0)): Buffer {
    const up = said.userPresent === false ? 0 : 0x01;
    const uv = said.userVerified === false ? 0 : 0x04;
    const backup = (synced ? 0x08 : 0) | ((said.backedUp ?? synced) ? 0x10 : 0);
    const count = Buffer.alloc(4);
    count.writeUInt32BE(said.counter ?? counter);
    return Buffer.concat([
      createHash('sha256')
        .update(said.rpId ?? site.rpId)
        .digest(),
      Buffer.from([flags | up | uv | backup]),
      count,
      attested,
    ]);
  }

  const common = { id: credentialId, rawId: credentialId, type: 'public-key', clientExtensionResults: {} };

  return {
    id: credentialId,
    privateKey,
    get userHandle() {
      return userHandle;
    },

    /** `navigator.credentials.create`, as JSON. */
    create(options: CreationOptions, said: MakingOptions = {}) {
      userHandle = options.user.id;
      const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
      const key = new Map<Cbor, Cbor>([
        [1, 2],
        [3, said.algorithm ?? -7],
        [-1, 1],
        [-2, Buffer.from(x, 'base64url')],
        [-3, Buffer.from(y, 'base64url')],
      ]);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(id.length);
      const attested = Buffer.concat([Buffer.alloc(16), length, id, cbor(key)]);
      const attestation = new Map<Cbor, Cbor>([
        ['fmt', said.fmt ?? 'none'],
        ['attStmt', said.attStmt ?? new Map()],
        ['authData', authenticatorData(said, 0x40, attested)],
      ]);
      return {
        ...common,
        response: {
          clientDataJSON: clientData('webauthn.create', options.challenge, said).toString('base64url'),
          attestationObject: cbor(attestation).toString('base64url'),
          transports: ['internal'],
        },
      };
    },

    /** `navigator.credentials.get`, as JSON. */
    get(options: RequestOptions, said: Answering = {}) {
      if (steps) counter += 1;
      const data = authenticatorData(said, 0);
      const json = clientData('webauthn.get', options.challenge, said);
      const signed = Buffer.concat([data, createHash('sha256').update(json).digest()]);
      const handle = 'userHandle' in said ? said.userHandle : userHandle;
      return {
        ...common,
        response: {
          clientDataJSON: json.toString('base64url'),
          authenticatorData: data.toString('base64url'),
          signature: sign('sha256', signed, said.signWith ?? privateKey).toString('base64url'),
          ...(handle !== undefined && { userHandle: handle }),
        },
      };
    },
  };
}

/** Maps in the order given, which for the keys used here is the canonical one. */
function cbor(value: Cbor): Buffer {
  if (typeof value === 'number') return value < 0 ? head(1, -1 - value) : head(0, value);
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value]);
  const entries = [...value].flatMap(([key, each]) => [cbor(key), cbor(each)]);
  return Buffer.concat([head(5, value.size), ...entries]);
}

function head(major: number, size: number): Buffer {
  const type = major << 5;
  if (size < 24) return Buffer.from([type | size]);
  if (size < 0x100) return Buffer.from([type | 24, size]);
  if (size < 0x1_0000) return Buffer.from([type | 25, size >> 8, size & 0xff]);
  throw new Error('longer than anything in WebAuthn');
}

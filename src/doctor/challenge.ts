/**
 * How the doctor asks a running server what it saw of a request, without anybody else learning it: the question is sealed
 * under OIDC_ENCRYPTION_KEY, and so is the answer. Who has no key gets no answer; who repeats a question that he overheard
 * gets one that he cannot read.
 */
import { z } from 'zod';
import type { Encryption } from '../keys/encryption.ts';
import { randomToken } from '../lib/random.ts';

export const seenPath = '/doctor/seen';
export const challengeHeader = 'latchkey-doctor';

/** Clocks may be wrong: that is one of the things to be found. */
const goodForMs = 24 * 60 * 60 * 1000;

const Challenge = z.object({ nonce: z.string(), at: z.number() });

const Seen = z.object({
  nonce: z.string(),
  /** The server's clock, epoch milliseconds. */
  now: z.number(),
  /** As the request said, or a trusted proxy for it. */
  host: z.string(),
  /** Where requests are counted and logged to come from. */
  ip: z.string(),
  /** How many proxies were believed for that. */
  hops: z.number(),
  /** Who opened the connection. */
  peer: z.string(),
  /** Whether that connection itself was TLS. */
  tls: z.boolean(),
  forwardedFor: z.string(),
  forwardedProto: z.string(),
  /** The value of the doctor's own cookie that came along. */
  cookie: z.string(),
});

/** What a request looked like when it reached the server. Absent headers are empty. */
export type Seen = z.infer<typeof Seen>;

const askPurpose = 'doctor-challenge';
const answerPurpose = 'doctor-answer';

export function writeChallenge(encryption: Encryption, now = Date.now()): { sealed: string; nonce: string } {
  const nonce = randomToken(16);
  return { nonce, sealed: encryption.encrypt(JSON.stringify({ nonce, at: now }), askPurpose) };
}

/** The nonce of a challenge that somebody with our key made lately; undefined for anything else. */
export function readChallenge(encryption: Encryption, sealed: unknown, now = Date.now()): string | undefined {
  if (typeof sealed !== 'string' || sealed === '') return undefined;
  const { data } = Challenge.safeParse(opened(encryption, sealed, askPurpose));
  return data && Math.abs(now - data.at) < goodForMs ? data.nonce : undefined;
}

export function writeAnswer(encryption: Encryption, seen: Seen): string {
  return encryption.encrypt(JSON.stringify(seen), answerPurpose);
}

/** Undefined when it is no answer to the challenge with that nonce. */
export function readAnswer(encryption: Encryption, sealed: string, nonce: string): Seen | undefined {
  const { data } = Seen.safeParse(opened(encryption, sealed.trim(), answerPurpose));
  return data?.nonce === nonce ? data : undefined;
}

function opened(encryption: Encryption, sealed: string, purpose: string): unknown {
  try {
    return JSON.parse(encryption.decrypt(sealed, purpose));
  } catch {
    return undefined;
  }
}

/** A cookie with the attributes of the session's, so that what is done to one is done to the other. */
export function doctorCookie(secure: boolean): { name: string; attributes: string } {
  return {
    name: secure ? '__Host-latchkey_doctor' : 'latchkey_doctor',
    attributes: `Path=/; Max-Age=60; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`,
  };
}

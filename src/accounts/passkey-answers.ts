/** What browsers send back (WebAuthn §5.1.3, §5.1.4 as JSON): in a form as text, in a JSON body as it is. */
import { z } from 'zod';

/** Attestation objects and signatures are hundreds of octets; post-quantum keys some thousands. */
const base64url = (maxOctets = 16_384) =>
  z
    .string()
    .max(Math.ceil((maxOctets * 4) / 3))
    .regex(/^[\w-]*$/);

/** WebAuthn §4: at most 1023 octets. */
const credentialId = base64url(1023).min(1);

const transports = ['usb', 'nfc', 'ble', 'smart-card', 'hybrid', 'internal', 'cable'] as const;

const fromText = <T extends z.ZodType>(schema: T) => z.preprocess(parseText, schema);

const common = {
  id: credentialId,
  rawId: credentialId,
  type: z.literal('public-key'),
  // Nothing that an extension says is used.
  clientExtensionResults: z.unknown().transform(() => ({})),
};

/** `handle` is that of the challenge. */
const handle = z.string().max(64);

export const RegistrationAnswer = z.object({
  handle,
  credential: fromText(
    z.object({
      ...common,
      response: z.object({
        clientDataJSON: base64url(),
        attestationObject: base64url(),
        transports: z
          .array(z.string())
          .default([])
          .transform((names) => transports.filter((known) => names.includes(known))),
      }),
    }),
  ),
});

export const AssertionAnswer = z.object({
  handle,
  credential: fromText(
    z.object({
      ...common,
      response: z.object({
        clientDataJSON: base64url(),
        authenticatorData: base64url(),
        signature: base64url(),
        userHandle: base64url(64).optional(),
      }),
    }),
  ),
});

function parseText(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

/** True when another site's page showed ours in a frame (WebAuthn §7.1, §7.2: `crossOrigin`), which none may. */
export function isFramed(clientDataJSON: string): boolean {
  return JSON.parse(Buffer.from(clientDataJSON, 'base64url').toString()).crossOrigin === true;
}

/** OIDC Core §5.1 and §5.4: the standard claims, their forms, and the scopes that stand for them. */
import { z } from 'zod';

export const scopeClaims: Record<string, string[]> = {
  profile: [
    ...['name', 'family_name', 'given_name', 'middle_name', 'nickname', 'preferred_username', 'profile', 'picture'],
    ...['website', 'gender', 'birthdate', 'zoneinfo', 'locale', 'updated_at'],
  ],
  email: ['email', 'email_verified'],
  address: ['address'],
  phone: ['phone_number', 'phone_number_verified'],
};

const text = z.string().min(1);
const optionalText = text.optional();
const link = z.url({ protocol: /^https?$/ }).optional();

/** Anything else in a userinfo answer is unexpected. */
export const standardClaims = z.strictObject({
  sub: z.string().regex(/^[\x20-\x7e]{1,255}$/),
  name: optionalText,
  given_name: optionalText,
  family_name: optionalText,
  middle_name: optionalText,
  nickname: optionalText,
  preferred_username: optionalText,
  profile: link,
  picture: link,
  website: link,
  email: z.email().optional(),
  email_verified: z.boolean().optional(),
  gender: optionalText,
  birthdate: z
    .string()
    .regex(/^(\d{4}|0000)(-\d\d-\d\d)?$/)
    .optional(),
  zoneinfo: z
    .string()
    .refine((zone) => Intl.supportedValuesOf('timeZone').includes(zone))
    .optional(),
  locale: z
    .string()
    .regex(/^[a-z]{2,3}([-_][A-Za-z0-9]+)*$/)
    .optional(),
  phone_number: optionalText,
  phone_number_verified: z.boolean().optional(),
  address: z
    .strictObject({
      formatted: optionalText,
      street_address: optionalText,
      locality: optionalText,
      region: optionalText,
      postal_code: optionalText,
      country: optionalText,
    })
    .optional(),
  updated_at: z.int().positive().optional(),
});

import { z } from 'zod';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { isPlainText, text } from '../http/body.ts';
import type { Pages } from '../http/views.ts';
import { type Account, type Profile, updateProfile } from './accounts.ts';

/** Text that may be left out (unchanged) or empty (removed). */
const optional = (max: number) => text(max).transform(emptyToNull).optional();

const checked = (max: number, isValid: (value: string) => boolean, words: string) =>
  text(max)
    .refine((value) => value === '' || isValid(value), words)
    .transform(emptyToNull)
    .optional();

const webAddress = checked(2000, isWebAddress, 'Enter a web address that starts with https:// or http://.');

/** Where each claim of the form is kept. */
const columns = {
  name: 'name',
  given_name: 'givenName',
  family_name: 'familyName',
  middle_name: 'middleName',
  nickname: 'nickname',
  preferred_username: 'preferredUsername',
  profile: 'profile',
  picture: 'picture',
  website: 'website',
  gender: 'gender',
  birthdate: 'birthdate',
  zoneinfo: 'zoneinfo',
  locale: 'locale',
  phone_number: 'phoneNumber',
  street_address: 'streetAddress',
  locality: 'locality',
  region: 'region',
  postal_code: 'postalCode',
  country: 'country',
} as const satisfies Record<string, keyof Profile>;

type ProfileField = keyof typeof columns;

/** The profile in the wire's names (OIDC Core §5.1); what it parses to is what `updateProfile` takes. */
export const ProfileForm = z
  .object({
    name: text(200).min(1, 'Enter your name.').optional(),
    given_name: optional(200),
    family_name: optional(200),
    middle_name: optional(200),
    nickname: optional(200),
    preferred_username: optional(200),
    profile: webAddress,
    picture: webAddress,
    website: webAddress,
    gender: optional(100),
    birthdate: checked(10, isBirthdate, 'Enter a date like 1994-06-27, or the year alone.'),
    zoneinfo: checked(100, isTimeZone, 'Enter a time zone like Europe/Lisbon.'),
    locale: checked(35, isLanguageTag, 'Enter a language like en or pt-BR.'),
    phone_number: checked(40, isPhoneNumber, 'Enter a number with its country, like +351 21 000 0000.'),
    street_address: z
      .string()
      .trim()
      .max(500, 'Use at most 500 characters.')
      .transform((lines) => lines.replace(/\r\n?/g, '\n'))
      .refine((lines) => lines.split('\n').every(isPlainText), 'Remove the characters that cannot be shown.')
      .transform(emptyToNull)
      .optional(),
    locality: optional(200),
    region: optional(200),
    postal_code: optional(40),
    country: optional(100),
  })
  .transform(
    (form) =>
      Object.fromEntries(
        Object.entries(form)
          .filter(([, value]) => value !== undefined)
          .map(([field, value]) => [columns[field as ProfileField], value]),
      ) as Profile,
  );

/** Saves what a person says about themselves, and records which fields changed; undefined when the account is gone. */
export function changeProfile(
  db: Database,
  before: Account,
  profile: Profile,
  source: AuditSource,
): Promise<Account | undefined> {
  const changed = Object.entries(columns).flatMap(([field, column]) =>
    profile[column] !== undefined && profile[column] !== before[column] ? [field] : [],
  );
  return db.transaction(async (tx) => {
    const account = await updateProfile(tx, before.id, profile);
    if (account && changed.length > 0)
      await record(tx, { event: 'account.changed', accountId: before.id, source, details: { changed } });
    return account;
  });
}

/** The account's profile as the fields of its form. */
export function profileFields(account: Account): Pages['profile']['fields'] {
  return Object.fromEntries(
    Object.entries(columns).map(([field, column]) => [field, { value: account[column] ?? '' }]),
  );
}

function emptyToNull(value: string): string | null {
  return value === '' ? null : value;
}

function isWebAddress(value: string): boolean {
  return /^https?:\/\//i.test(value) && URL.canParse(value);
}

/** OIDC Core §5.1: ISO 8601 date, the year alone, or 0000 for a year left unsaid. */
function isBirthdate(value: string): boolean {
  if (/^\d{4}$/.test(value)) return value !== '0000';
  if (!/^\d{4}-\d{2}-\d{2}$/.test(value)) return false;
  // A leap year stands in for the one unsaid, so that 29 February can be somebody's.
  const date = new Date(`${value.replace(/^0000/, '2000')}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().slice(5, 10) === value.slice(5);
}

function isTimeZone(value: string): boolean {
  return /^[A-Za-z]/.test(value) && succeeds(() => new Intl.DateTimeFormat('en', { timeZone: value }));
}

function isLanguageTag(value: string): boolean {
  return succeeds(() => Intl.getCanonicalLocales(value));
}

/** E.164 with the usual marks between digits, and RFC 3966's extension. */
function isPhoneNumber(value: string): boolean {
  return /^\+[\d ().-]+(;ext=\d+)?$/.test(value) && /^\d{7,15}$/.test((value.split(';')[0] ?? '').replace(/\D/g, ''));
}

function succeeds(check: () => unknown): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}

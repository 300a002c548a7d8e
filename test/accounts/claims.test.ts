import { expect, test } from 'vitest';
import type { Account } from '../../src/accounts/accounts.ts';
import { accountClaims } from '../../src/accounts/claims.ts';

const bare: Account = {
  id: 'u_1',
  email: 'ada@moreno.example',
  emailNormalized: 'ada@moreno.example',
  emailVerified: false,
  name: 'Ada Moreno',
  givenName: null,
  familyName: null,
  middleName: null,
  nickname: null,
  preferredUsername: null,
  profile: null,
  picture: null,
  website: null,
  gender: null,
  birthdate: null,
  zoneinfo: null,
  locale: null,
  phoneNumber: null,
  phoneNumberVerified: false,
  streetAddress: null,
  locality: null,
  region: null,
  postalCode: null,
  country: null,
  suspendedAt: null,
  passwordExpiredAt: null,
  passwordChangedAt: null,
  deletionAt: null,
  administratorSince: null,
  createdAt: new Date('2026-01-02T03:04:05.678Z'),
  updatedAt: new Date('2026-01-02T03:04:05.678Z'),
};

test('what is not known is left out, never null or empty (OIDC Core §5.3.2)', () => {
  expect(accountClaims(bare)).toEqual({
    sub: 'u_1',
    name: 'Ada Moreno',
    email: 'ada@moreno.example',
    email_verified: false,
    updated_at: 1767323045,
  });
});

test('every standard claim has its place (OIDC Core §5.1)', () => {
  const full: Account = {
    ...bare,
    emailVerified: true,
    givenName: 'Ada',
    familyName: 'Moreno',
    middleName: 'L.',
    nickname: 'ada',
    preferredUsername: 'amoreno',
    profile: 'https://moreno.example/ada',
    picture: 'https://moreno.example/ada.png',
    website: 'https://moreno.example',
    gender: 'female',
    birthdate: '0000-06-27',
    zoneinfo: 'Europe/Lisbon',
    locale: 'pt-PT',
    phoneNumber: '+351 21 000 0000',
    phoneNumberVerified: true,
    streetAddress: 'Rua do Norte 5\n2.º',
    locality: 'Lisboa',
    region: 'Lisboa',
    postalCode: '1200-001',
    country: 'Portugal',
  };
  expect(accountClaims(full)).toEqual({
    sub: 'u_1',
    name: 'Ada Moreno',
    given_name: 'Ada',
    family_name: 'Moreno',
    middle_name: 'L.',
    nickname: 'ada',
    preferred_username: 'amoreno',
    profile: 'https://moreno.example/ada',
    picture: 'https://moreno.example/ada.png',
    website: 'https://moreno.example',
    email: 'ada@moreno.example',
    email_verified: true,
    gender: 'female',
    birthdate: '0000-06-27',
    zoneinfo: 'Europe/Lisbon',
    locale: 'pt-PT',
    phone_number: '+351 21 000 0000',
    phone_number_verified: true,
    address: {
      formatted: 'Rua do Norte 5\n2.º\n1200-001 Lisboa, Lisboa\nPortugal',
      street_address: 'Rua do Norte 5\n2.º',
      locality: 'Lisboa',
      region: 'Lisboa',
      postal_code: '1200-001',
      country: 'Portugal',
    },
    updated_at: 1767323045,
  });
});

test('an address of one part is that part', () => {
  expect(accountClaims({ ...bare, country: 'Portugal' }).address).toEqual({
    formatted: 'Portugal',
    country: 'Portugal',
  });
});

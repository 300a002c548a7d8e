import type { Account } from './accounts.ts';

/**
 * All standard claims the account has a value for (OIDC Core §5.1); which of them a client gets is decided by scope and
 * by what the person allowed. Absent ones are left out, never null or empty (§5.3.2).
 */
export function accountClaims(account: Account): { sub: string } & Record<string, unknown> {
  const address = addressClaim(account);
  return {
    sub: account.id,
    email: account.email,
    email_verified: account.emailVerified,
    ...present({
      name: account.name,
      given_name: account.givenName,
      family_name: account.familyName,
      middle_name: account.middleName,
      nickname: account.nickname,
      preferred_username: account.preferredUsername,
      profile: account.profile,
      picture: account.picture,
      website: account.website,
      gender: account.gender,
      birthdate: account.birthdate,
      zoneinfo: account.zoneinfo,
      locale: account.locale,
      phone_number: account.phoneNumber,
    }),
    ...(account.phoneNumber && { phone_number_verified: account.phoneNumberVerified }),
    ...(address && { address }),
    updated_at: Math.floor(account.updatedAt.getTime() / 1000),
  };
}

/** OIDC Core §5.1.1; `formatted` is the whole of it, as on an envelope. */
function addressClaim(account: Account): Record<string, string> | undefined {
  const { streetAddress, locality, region, postalCode, country } = account;
  const parts = present({
    street_address: streetAddress,
    locality,
    region,
    postal_code: postalCode,
    country,
  });
  if (Object.keys(parts).length === 0) return undefined;
  const town = [[postalCode, locality].filter(Boolean).join(' '), region].filter(Boolean).join(', ');
  return { formatted: [streetAddress, town, country].filter(Boolean).join('\n'), ...parts };
}

function present(values: Record<string, string | null>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).filter((entry): entry is [string, string] => Boolean(entry[1])));
}

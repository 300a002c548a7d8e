/** OIDC Core §5.4: the claims that each scope stands for. */
export const scopeClaims: Readonly<Record<string, readonly string[]>> = {
  profile: [
    'name',
    'family_name',
    'given_name',
    'middle_name',
    'nickname',
    'preferred_username',
    'profile',
    'picture',
    'website',
    'gender',
    'birthdate',
    'zoneinfo',
    'locale',
    'updated_at',
  ],
  email: ['email', 'email_verified'],
  address: ['address'],
  phone: ['phone_number', 'phone_number_verified'],
};

/** Every scope this provider knows, besides those of resource servers. */
export const supportedScopes = ['openid', ...Object.keys(scopeClaims), 'offline_access'];

const personalClaims = new Set(Object.values(scopeClaims).flat());

/** The personal claims that a `claims` parameter (OIDC Core §5.5) names one by one. */
export function requestedClaims(claimsParameter: string | undefined): string[] {
  if (!claimsParameter) return [];
  const { userinfo = {}, id_token = {} } = JSON.parse(claimsParameter) as Record<string, object | undefined>;
  const names = new Set([...Object.keys(userinfo), ...Object.keys(id_token)]);
  return [...names].filter((name) => personalClaims.has(name));
}

/** What each product of docs/recipes/ sends to Latchkey and needs to hear, from its own documentation and source. */

export type Product = {
  page: string;
  redirectUri: string;
  authentication: 'basic' | 'post' | 'none';
  pkce: boolean;
  nonce: boolean;
  /** The rest of its authorization request. */
  request: Record<string, string>;
  /** What else it sends with the code. */
  exchange?: Record<string, string>;
  /** Where it reads claims, and which; ID token and userinfo both have `sub`. */
  idToken?: readonly string[];
  userinfo?: readonly string[];
  /** It renews its tokens. */
  refreshes?: true;
  /** Where its sign-out has the browser come back to, and what it says of itself. */
  signOut?: { to: string; by: 'id_token_hint' | 'client_id' };
};

const scope = 'openid profile email';
const person = ['sub', 'email', 'email_verified', 'name'] as const;

export const products: readonly Product[] = [
  {
    page: 'grafana.md',
    redirectUri: 'https://grafana.example.com/login/generic_oauth',
    authentication: 'basic',
    ...{ pkce: true, nonce: false, request: { scope }, userinfo: person, refreshes: true },
    signOut: { to: 'https://grafana.example.com/login', by: 'id_token_hint' },
  },
  {
    page: 'gitlab.md',
    redirectUri: 'https://gitlab.example.com/users/auth/openid_connect/callback',
    authentication: 'basic',
    ...{ pkce: true, nonce: true, request: { scope }, exchange: { scope }, userinfo: person },
    signOut: { to: 'https://gitlab.example.com/users/sign_in', by: 'client_id' },
  },
  {
    page: 'nextcloud.md',
    redirectUri: 'https://cloud.example.com/apps/user_oidc/code',
    authentication: 'post',
    ...{ pkce: true, nonce: true, idToken: ['sub', 'email', 'name', 'sid'] },
    // It asks for what it maps by default, known to the provider or not.
    request: {
      scope,
      claims: JSON.stringify({
        id_token: { email: null, name: null, quota: null, groups: null },
        userinfo: { email: null, name: null, quota: null, groups: null },
      }),
    },
    signOut: { to: 'https://cloud.example.com/', by: 'id_token_hint' },
  },
  {
    page: 'gitea.md',
    redirectUri: 'https://git.example.com/user/oauth2/latchkey/callback',
    authentication: 'basic',
    ...{ pkce: false, nonce: false, request: { scope: 'openid profile email' }, userinfo: person },
  },
  {
    page: 'immich.md',
    redirectUri: 'https://photos.example.com/auth/login',
    authentication: 'post',
    ...{ pkce: true, nonce: false, request: { scope: 'openid email profile' }, userinfo: person },
  },
  {
    page: 'oauth2-proxy.md',
    redirectUri: 'https://tools.example.com/oauth2/callback',
    authentication: 'basic',
    ...{ pkce: true, nonce: true, userinfo: person, refreshes: true },
    request: { scope, approval_prompt: 'force' },
    signOut: { to: 'https://tools.example.com/oauth2/sign_in', by: 'id_token_hint' },
  },
  {
    page: 'kubernetes.md',
    redirectUri: 'http://localhost:18000',
    authentication: 'none',
    ...{ pkce: true, nonce: true, idToken: ['sub', 'email', 'email_verified'], refreshes: true },
    request: {
      scope: 'email offline_access openid',
      access_type: 'offline',
      prompt: 'consent',
      claims: '{"id_token":{"email":null,"email_verified":null}}',
    },
  },
  {
    page: 'tailscale.md',
    redirectUri: 'https://login.tailscale.com/a/oauth_response',
    authentication: 'basic',
    ...{ pkce: false, nonce: false, request: { scope }, userinfo: person },
  },
];

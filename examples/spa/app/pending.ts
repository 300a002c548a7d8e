/**
 * What has to outlive a redirect. The page is gone while the person is at the provider, so the verifier, `state` and
 * `nonce` of the sign-in under way wait in sessionStorage: it belongs to this tab and this origin, so tabs do not
 * disturb each other, and a link from elsewhere finds nothing here that it could finish. They are taken out before they
 * are used, and are worth nothing afterwards. Tokens never come here.
 */

export type PendingSignIn = {
  /** The address the browser was sent to, to be shown afterwards. */
  request: string;
  state: string;
  nonce: string;
  verifier: string;
};

export const keepSignIn = (pending: PendingSignIn) => keep('sign-in', JSON.stringify(pending));

export function takeSignIn(): PendingSignIn | undefined {
  const text = take('sign-in');
  return text === undefined ? undefined : (JSON.parse(text) as PendingSignIn);
}

export const keepSignOut = (state: string) => keep('sign-out', state);
export const takeSignOut = () => take('sign-out');

/** That somebody is signed in in this tab, and no more than that: a reload may then ask without a page. */
export const rememberSignedIn = () => keep('signed-in', 'yes');
export const takeSignedIn = () => take('signed-in') !== undefined;
export const wasSignedIn = () => sessionStorage.getItem('lamplight:signed-in') !== null;

function keep(name: string, value: string): void {
  sessionStorage.setItem(`lamplight:${name}`, value);
}

function take(name: string): string | undefined {
  const value = sessionStorage.getItem(`lamplight:${name}`);
  sessionStorage.removeItem(`lamplight:${name}`);
  return value ?? undefined;
}

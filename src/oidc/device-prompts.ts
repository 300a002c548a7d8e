/** What an authorization request says with `prompt`, which a device cannot send (RFC 8628 §3.1). */
import { interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';

const { Check } = interactionPolicy;

/** The value of the button with which a person confirms a device, and wants to sign in as somebody else for it. */
export const anotherAccount = 'another-account';

/** Like `prompt=login`, by the person's own choice. */
export function anotherAccountCheck(): interactionPolicy.Check {
  return new Check('another_account', 'the End-User wants another account', 'login_required', ({ oidc }) => {
    const { confirm } = (oidc.body ?? {}) as { confirm?: unknown };
    return oidc.route === 'code_verification' && confirm === anotherAccount;
  });
}

/** Like `prompt=consent`, without which nobody gets `offline_access` (CONTRACT); the operator's own apps do not ask. */
export function deviceConsentCheck(): interactionPolicy.Check {
  return new Check('device_offline_access', 'long-lived access is asked for', 'consent_required', ({ oidc }) => {
    const asked = isDeviceRoute(oidc.route) && oidc.requestParamOIDCScopes.has('offline_access');
    return asked && oidc.client?.first_party !== true && !oidc.result?.consent;
  });
}

/** The routes on which a person decides about a device. */
function isDeviceRoute(route: KoaContextWithOIDC['oidc']['route']): boolean {
  return route === 'code_verification' || route === 'device_resume';
}

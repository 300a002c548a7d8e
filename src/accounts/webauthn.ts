/** The WebAuthn library. It is loaded with the first passkey: it would take a fifth of every start, the command line's too. */
export const webauthn = () => import('@simplewebauthn/server');

export const webauthnHelpers = () => import('@simplewebauthn/server/helpers');

/**
 * Beside the claims of an account, and never one of them: a symbol is in no JSON and in no list of names, so that no
 * token, answer or page can tell of it.
 */
export const administrator = Symbol('administrator');

export type WithAdministrator = { [administrator]?: boolean };

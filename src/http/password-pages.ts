import type { ClientTile, Field, Hidden, Problem } from './views.ts';

/** The pages for choosing a password and an address, by the names of their files in views/. */
export type PasswordPages = {
  'forgot-password': { action: string; email: Field; hidden: Hidden; signInUrl: string; problem?: Problem | undefined };
  /** A new password by a link, or in the middle of a sign-in whose password may not be used any longer. */
  'new-password': {
    about: 'reset' | 'expired';
    action: string;
    client?: ClientTile | undefined;
    email: string;
    password: { wrong?: string | undefined };
    hidden: Hidden;
    problem?: Problem | undefined;
  };
  /** A link to a new password that was used or has run out. */
  'reset-ended': { forgotUrl: string };
  /** `pending` is the address that is asked for and not there yet; `waitsFor` who still has to agree. */
  email: {
    email: string;
    verified: boolean;
    pending?: { email: string; waitsFor: readonly string[]; until: Date } | undefined;
    wanted: Field;
    /** Absent where the account has none. */
    password?: { wrong?: string | undefined } | undefined;
    problem?: Problem | undefined;
    notice?: string | undefined;
  };
  /** Where a link about a change of address leads: `new` and `old` say whose mail it was in. */
  'change-email': {
    about: 'new' | 'old' | 'undo';
    action: string;
    hidden: Hidden;
    oldEmail: string;
    newEmail: string;
  };
  'change-email-done': {
    outcome: 'agreed' | 'changed' | 'cancelled' | 'undone';
    /** The one that the account has now. */
    email?: string | undefined;
    /** Who still has to agree. */
    waitsFor?: string | undefined;
    /** Where a new password is chosen, after an address was taken back. */
    resetUrl?: string | undefined;
    signedIn: boolean;
  };
  /** `impossible`: the change was answered and cannot be made any more. */
  'change-email-ended': { outcome: 'impossible' | 'lost' };
};

import type { Hidden, Problem } from './views.ts';

/** What the signed-in person's own pages are given, by the name of their file in views/. */
export type AccountPages = {
  account: {
    name: string;
    email: string;
    emailVerified: boolean;
    notice?: string | undefined;
    /** Wrong tries to get in since this person last did before; with nothing before, `since` is absent. */
    tries?: { failed: number; since: Date | undefined } | undefined;
  };
  /** The ways into the account. Without a password `passwordChangedAt` says nothing. */
  'account-security': {
    email: string;
    password: boolean;
    passwordChangedAt?: Date | undefined;
    twoStep: boolean;
    recoveryCodesLeft: number;
    passkeys: number;
    notice?: string | undefined;
  };
  'account-sessions': {
    /** `handle` names it in its form. */
    sessions: readonly {
      handle: string;
      device: string;
      kind: 'computer' | 'phone' | 'program';
      address?: string | undefined;
      signedInAt: Date;
      lastSeenAt: Date;
      /** It is this browser's. */
      own: boolean;
    }[];
    notice?: string | undefined;
  };
  'account-apps': {
    apps: readonly {
      clientId: string;
      name: string;
      logoUrl?: string | undefined;
      since: Date;
      scopes: readonly string[];
    }[];
    notice?: string | undefined;
  };
  'account-activity': {
    days: readonly {
      day: Date;
      entries: readonly {
        at: Date;
        text: string;
        device?: string | undefined;
        address?: string | undefined;
        failed: boolean;
      }[];
    }[];
    /** How far back it goes. */
    keptDays: number;
    olderUrl?: string | undefined;
    newestUrl?: string | undefined;
  };
  'account-data': { graceDays: number };
  'account-deletion': { email: string; graceDays: number; apps: readonly string[] };
  /** After a request to delete the account: nobody is signed in any more. */
  'account-deleted': { graceDays: number };
  /** A signed-in person proves again who they are, in one of the ways that the account has. */
  confirm: {
    action: string;
    email: string;
    asks: 'password' | 'code' | undefined;
    wrong?: string | undefined;
    passkey: boolean;
    /** A form was sent and has to be sent again. */
    unsent: boolean;
    problem?: Problem | undefined;
    hidden: Hidden;
    cancelUrl: string;
  };
};

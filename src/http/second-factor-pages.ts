import type { ClientTile, Field, Hidden, Problem } from './views.ts';

/** What the pages of two-step sign-in are given, by the name of their file in views/. */
export type SecondFactorPages = {
  /** The second step of a sign-in. */
  'second-factor': {
    action: string;
    client?: ClientTile | undefined;
    email: string;
    /** Which is asked for; the field takes codes of both kinds, and `passkey` has none. */
    asks: 'totp' | 'recovery-code' | 'passkey';
    code: Field;
    problem?: Problem | undefined;
    hidden: Hidden;
    /** Whether it offers not to ask in this browser for a while. */
    remember: boolean;
    /** To the page that asks for the other kind of code. */
    otherUrl?: string | undefined;
    /** Where a passkey's question comes from, for those who have one. */
    passkey?: { options: string } | undefined;
    /** Where to say no to the client, or to begin as somebody else. */
    cancel?: { action: string } | undefined;
    anotherUrl?: string | undefined;
  };
  /** After a sign-in with one of the last recovery codes. */
  'few-recovery-codes': { left: number; continueUrl: string; renewUrl: string };
  /** A client asks for two steps, or the account is an administrator's, and it has one. */
  'second-factor-needed': {
    client: ClientTile;
    administrator: boolean;
    setUpUrl: string;
    cancel: { action: string };
  };
  'two-step': {
    /** Since when an app is asked for its codes. */
    since?: Date | undefined;
    recoveryCodesLeft: number;
    browsers: readonly {
      device: string;
      kind: 'computer' | 'phone' | 'program';
      address?: string | undefined;
      since: Date;
      until: Date;
      /** It is the one in which this page is shown. */
      own: boolean;
      forgetUrl: string;
    }[];
    notice?: string | undefined;
  };
  'two-step-set-up': {
    action: string;
    /** Rows of the QR code's squares, true where they are dark. */
    qr: readonly (readonly boolean[])[];
    keyUri: string;
    /** The key to be typed where no picture can be taken. */
    key: string;
    code: Field;
    problem?: Problem | undefined;
    hidden: Hidden;
    cancelUrl: string;
  };
  /** The only time that they are shown. */
  'recovery-codes': { codes: readonly string[]; email: string; at: Date; continueUrl: string };
};

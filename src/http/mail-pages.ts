import type { Hidden, Problem } from './views.ts';

/** The pages about mails, by the names of their files in views/. */
export type MailPages = {
  /** What was asked for; the words are the same whether or not the address has an account. */
  'check-email': { about: 'register' | 'reset' };
  /** Where a link in a mail leads: it does nothing until the button is pressed, since mail scanners open links, too. */
  'verify-email': {
    action: string;
    hidden: Hidden;
    email: string;
    /** Whether an account is made or one that exists has its address confirmed. */
    about: 'register' | 'verify';
    /** Asked of a browser other than the one that the form was filled in with. */
    password?: { wrong?: string | undefined } | undefined;
    problem?: Problem | undefined;
  };
  /** Confirmed, in a browser where its person is not signed in. */
  'email-verified': { email: string };
  /**
   * A link that was used or has run out, or whose address got an account meanwhile. `resendAction` where somebody is
   * signed in whose address is not confirmed.
   */
  'link-ended': { taken: boolean; resendAction?: string | undefined; registerUrl?: string | undefined };
  outbox: { mails: readonly OutboxMail[] };
};

export type OutboxMail = {
  id: string;
  to: string;
  subject: string;
  at: Date;
  /** Plain text in pieces, those that are addresses apart. */
  text: readonly { text: string; link: boolean }[];
};

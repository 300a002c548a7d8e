/** What each mail says. The two layouts are in views/mail/. */
import type { Mail, Notice, NoticeKind } from './mails.ts';

/** A mail in words. Links are paths on this origin. */
export type Letter = {
  subject: string;
  /** What a list of mails shows beside the subject. */
  preview: string;
  paragraphs: readonly string[];
  facts: readonly { name: string; value: string }[];
  button?: { path: string; label: string } | undefined;
  /** Under the button, beside its address written out. */
  limit?: string | undefined;
  /** Another way, for whom the button is wrong. */
  second?: { path: string; before: string; label: string } | undefined;
  footer: string;
};

const once = (time: string) => `It works once, for ${time}.`;
const hoursInWords = (hours: number) => (hours === 1 ? 'an hour' : `${hours} hours`);

/** @param brand what the server calls itself */
export function letterOf({ template, data }: Mail, brand: string): Letter {
  switch (template) {
    case 'verify-email':
      return {
        subject: 'Check your email address',
        preview: `One tap and your address is confirmed. The link works for ${hoursInWords(data.hours)}.`,
        paragraphs: [`Confirm that this address is yours. Apps that ask ${brand} for it then know that, too.`],
        facts: [],
        button: { path: data.path, label: 'Confirm my address' },
        limit: once(hoursInWords(data.hours)),
        footer: 'Didn’t create an account? Ignore this and nothing happens.',
      };
    case 'register':
      return {
        subject: 'Finish creating your account',
        preview: `One tap and your account is ready. The link works for ${hoursInWords(data.hours)}.`,
        paragraphs: [`Confirm that this address is yours and your ${brand} account is ready.`],
        facts: [],
        button: { path: data.path, label: 'Create my account' },
        limit: once(hoursInWords(data.hours)),
        footer: 'Didn’t ask for an account? Ignore this and there will be none.',
      };
    case 'already-registered':
      return {
        subject: 'You have an account already',
        preview: 'Somebody used your address to create an account. You can sign in instead.',
        paragraphs: [
          `Somebody, most likely you, tried to create a ${brand} account with this address. It has one already, and nothing was changed.`,
        ],
        facts: [],
        button: { path: data.signInPath, label: 'Sign in' },
        second: { path: data.resetPath, before: 'Don’t know your password any more?', label: 'Choose a new one' },
        footer: 'Wasn’t you? Ignore this: whoever it was learned nothing about your account.',
      };
    case 'reset-password':
      return {
        subject: 'Choose a new password',
        preview: `The link works once, for ${data.minutes} minutes.`,
        paragraphs: [`Somebody, most likely you, asked for a new password for your ${brand} account.`],
        facts: [],
        button: { path: data.path, label: 'Choose a new password' },
        limit: once(`${data.minutes} minutes`),
        footer: 'Didn’t ask? Ignore this and your password stays as it is.',
      };
    case 'change-email-new':
      return {
        subject: 'Confirm your new email address',
        preview: `One tap and your address is confirmed. The link works for ${hoursInWords(data.hours)}.`,
        paragraphs: [
          `The account of ${data.oldEmail} is to have this address instead. Confirm that it is yours.`,
          data.alone
            ? 'It changes as soon as you do.'
            : `We’ve written to ${data.oldEmail} as well: the address changes once both have agreed.`,
        ],
        facts: [],
        button: { path: data.path, label: 'Confirm my new address' },
        limit: once(hoursInWords(data.hours)),
        footer: 'Don’t know that account? Ignore this and nothing happens.',
      };
    case 'change-email-taken':
      return {
        subject: 'Your address has an account already',
        preview: 'Somebody wanted it for another account. Nothing was changed.',
        paragraphs: [
          `Somebody, perhaps you, wanted this address for another ${brand} account. It has one already, so nothing was changed.`,
        ],
        facts: [],
        button: { path: data.signInPath, label: 'Sign in' },
        footer: 'Wasn’t you? Ignore this: whoever it was learned nothing about your account.',
      };
    case 'change-email-old':
      return {
        subject: 'Your email address is about to change',
        preview: 'Agree, or stop it if it wasn’t you.',
        paragraphs: [`Your ${brand} account is to have another address: ${data.newEmail}. It changes once both agree.`],
        facts: [],
        button: { path: data.path, label: 'Agree to the change' },
        limit: once(hoursInWords(data.hours)),
        second: { path: data.cancelPath, before: 'Wasn’t you?', label: 'Stop the change' },
        footer: 'Do nothing and your address stays as it is.',
      };
    case 'notice':
      return noticeLetter(data, brand);
  }
}

/** Subject, and what happened in a sentence. */
const notices: Record<NoticeKind, [subject: string, sentence: (brand: string) => string]> = {
  'password-changed': ['Your password was changed', (brand) => `The password of your ${brand} account was changed.`],
  'password-reset': [
    'Your password was changed',
    (brand) => `A link from a mail was used to choose a new password for your ${brand} account.`,
  ],
  'email-changed': ['Your email address was changed', (brand) => `Your ${brand} account has another address now.`],
  'email-change-cancelled': [
    'Your email address stays as it is',
    (brand) => `The change of address of your ${brand} account was stopped.`,
  ],
  'two-step-on': [
    'Two-step sign-in is on',
    (brand) => `Your ${brand} account now asks for a code from an authenticator app.`,
  ],
  'two-step-off': [
    'Two-step sign-in is off',
    (brand) => `Your ${brand} account doesn’t ask for a code from an authenticator app any more.`,
  ],
  'recovery-codes-renewed': [
    'You have new recovery codes',
    (brand) => `Recovery codes were made for your ${brand} account. Older ones don’t work any more.`,
  ],
  'recovery-code-used': [
    'A recovery code was used',
    (brand) => `Somebody signed in to your ${brand} account with one of its recovery codes.`,
  ],
  'passkey-added': ['A passkey was added', (brand) => `Your ${brand} account has a new passkey.`],
  'passkey-removed': ['A passkey was removed', (brand) => `A passkey of your ${brand} account was removed.`],
  'deletion-asked': [
    'Your account will be deleted',
    (brand) => `Your ${brand} account is signed out everywhere and will be deleted. Sign in before then to keep it.`,
  ],
  'deletion-cancelled': ['Your account stays', (brand) => `Your ${brand} account will not be deleted.`],
  'signed-out-everywhere': [
    'You were signed out everywhere',
    (brand) => `Your ${brand} account was signed out everywhere.`,
  ],
};

function noticeLetter({ kind, at, address, device, detail, until, undoPath }: Notice, brand: string): Letter {
  const [subject, sentence] = notices[kind];
  const facts = { What: detail, When: moment(at), From: address, With: device, Until: until && moment(until) };
  const keep = { path: '/auth/login', label: 'Keep my account' };
  const undo = { path: undoPath ?? '/auth/forgot-password', label: undoPath ? 'Undo it' : 'Choose a new password' };
  const otherwise = undoPath
    ? 'Wasn’t it you? Undo it, then choose a new password.'
    : 'Wasn’t it you? Choose a new password now: that signs out everybody else. Then look through your account.';
  return {
    subject,
    preview: 'Wasn’t it you? Then read on.',
    paragraphs: kind === 'deletion-asked' ? [sentence(brand)] : [sentence(brand), otherwise],
    facts: Object.entries(facts).flatMap(([name, value]) => (value ? [{ name, value }] : [])),
    button: kind === 'deletion-asked' ? keep : undo,
    footer: kind === 'deletion-asked' ? 'Was it you? Then there is nothing to do.' : 'Was it you? Then all is well.',
  };
}

function moment(iso: string): string {
  const date = new Date(iso);
  const day = date.toLocaleDateString('en-GB', { dateStyle: 'long', timeZone: 'UTC' });
  return `${day}, ${date.toLocaleTimeString('en-GB', { timeStyle: 'short', timeZone: 'UTC' })} UTC`;
}

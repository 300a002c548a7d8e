/** Data for the pages on which a password or an address is chosen, see view-samples.ts. */
import type { ClientTile, Problem } from '../../src/http/views.ts';
import type { Sample } from './view-samples.ts';

type Parts = {
  path: string;
  client: ClientTile;
  hidden: Record<string, string>;
  fix: (...ids: string[]) => Problem;
};

export function passwordSamples(write: (text: string) => string, { path, client, hidden, fix }: Parts): Sample[] {
  const wrong = { wrong: write('That’s not it.') };
  const typed = { value: write('Ada') };
  const email = typed.value;
  const forgot = { action: path, email: typed, hidden, signInUrl: path };
  const choose = { action: path, email, hidden };
  const question = { action: path, hidden, oldEmail: email, newEmail: email };
  const pending = { email, waitsFor: [email, write('new')], until: new Date('2026-03-12T09:41:07Z') };
  const own = { email, verified: true, wanted: typed, password: {} };
  const done = { email, waitsFor: email };
  return [
    { name: 'forgot-password', title: 'Choose a new password', data: forgot },
    {
      name: 'forgot-password',
      title: 'Problem: Choose a new password',
      data: { ...forgot, email: { ...typed, ...wrong }, problem: fix('email') },
    },
    { name: 'new-password', title: 'Choose a new password', data: { ...choose, about: 'reset', password: {} } },
    {
      name: 'new-password',
      title: 'Problem: Choose a new password',
      data: { ...choose, about: 'expired', client, password: wrong, problem: fix('password') },
    },
    { name: 'reset-ended', title: 'This link has been used', data: { forgotUrl: path } },
    { name: 'email', title: 'Your email address', data: { ...own, pending, notice: write('Done.') } },
    { name: 'email', title: 'Your email address', data: { ...own, verified: false, password: undefined } },
    {
      name: 'email',
      title: 'Problem: Your email address',
      data: { ...own, wanted: { ...typed, ...wrong }, password: wrong, problem: fix('email', 'password') },
    },
    { name: 'change-email', title: 'Is this your new address?', data: { ...question, about: 'new' } },
    { name: 'change-email', title: 'Change your address?', data: { ...question, about: 'old' } },
    { name: 'change-email', title: 'Take the change back?', data: { ...question, about: 'undo' } },
    {
      name: 'change-email-done',
      title: 'One more answer to come',
      data: { ...done, outcome: 'agreed', signedIn: false },
    },
    {
      name: 'change-email-done',
      title: 'Your address is changed',
      data: { ...done, outcome: 'changed', signedIn: true },
    },
    {
      name: 'change-email-done',
      title: 'Your address stays',
      data: { ...done, outcome: 'cancelled', signedIn: false },
    },
    {
      name: 'change-email-done',
      title: 'You have your address back',
      data: { ...done, outcome: 'undone', resetUrl: path, signedIn: false },
    },
    { name: 'change-email-ended', title: 'This change can’t', data: { outcome: 'impossible' } },
    { name: 'change-email-ended', title: 'This link has been used', data: { outcome: 'lost' } },
  ];
}

/** Data for the signed-in person's own pages, see view-samples.ts. */
import type { Problem } from '../../src/http/views.ts';
import type { Sample } from './view-samples.ts';

type Parts = {
  path: string;
  app: { clientId: string; name: string; since: Date; scopes: string[] };
  hidden: Record<string, string>;
  fix: (...ids: string[]) => Problem;
};

/** Pages that ask for nothing: none of their buttons is filled. */
export const quietPages = [
  'account',
  'account-security',
  'account-sessions',
  'account-apps',
  'account-activity',
  'account-deletion',
  'outbox',
];

export function accountSamples(write: (text: string) => string, { path, app, hidden, fix }: Parts): Sample[] {
  const [early, late] = [new Date('2026-03-12T09:41:07Z'), new Date('2026-03-12T21:05:59Z')];
  const session = {
    handle: write('8f3b'),
    device: write('Firefox on Linux'),
    address: write('203.0.113.24'),
    signedInAt: early,
    lastSeenAt: late,
  };
  const ways = { email: write('ada@moreno.example'), password: true, twoStep: true, recoveryCodesLeft: 7, passkeys: 2 };
  const entry = { at: early, text: write('You signed in.'), device: session.device, address: session.address };
  const confirm = {
    action: path,
    email: write('Ada'),
    asks: 'password' as const,
    passkey: true,
    hidden,
    cancelUrl: path,
  };
  return [
    {
      name: 'account-security',
      title: 'How you sign in',
      data: { ...ways, passwordChangedAt: early, notice: write('Done.') },
    },
    {
      name: 'account-security',
      title: 'How you sign in',
      data: { ...ways, password: false, twoStep: false, recoveryCodesLeft: 0, passkeys: 0 },
    },
    {
      name: 'account-sessions',
      title: 'Where you’re signed in',
      data: {
        sessions: [
          { ...session, kind: 'computer', own: true },
          { ...session, kind: 'phone', own: false },
          { ...session, kind: 'program', address: undefined, own: false },
        ],
        notice: write('Done.'),
      },
    },
    {
      name: 'account-sessions',
      title: 'Where you’re signed in',
      data: { sessions: [{ ...session, kind: 'computer', own: true }] },
    },
    {
      name: 'account-apps',
      title: 'Connected apps',
      data: { apps: [app, { ...app, logoUrl: path }], notice: write('Done.') },
    },
    { name: 'account-apps', title: 'Connected apps', data: { apps: [] } },
    {
      name: 'account-activity',
      title: 'Activity',
      data: {
        days: [
          { day: new Date('2026-03-12T00:00:00Z'), entries: [{ ...entry, failed: false }] },
          {
            day: new Date('2026-03-11T00:00:00Z'),
            entries: [
              { ...entry, failed: true },
              { ...entry, device: undefined, address: undefined, failed: false },
            ],
          },
        ],
        keptDays: 90,
        olderUrl: path,
        newestUrl: path,
      },
    },
    { name: 'account-activity', title: 'Activity', data: { days: [], keptDays: 90 } },
    { name: 'account-data', title: 'Your data', data: { graceDays: 14 } },
    {
      name: 'account-deletion',
      title: 'Delete your account',
      data: { email: ways.email, graceDays: 14, apps: [write('Fernwood'), write('Kestrel')] },
    },
    {
      name: 'account-deletion',
      title: 'Delete your account',
      data: { email: ways.email, graceDays: 14, apps: [] },
    },
    { name: 'account-deleted', title: 'Your account will be deleted', data: { graceDays: 14 } },
    { name: 'confirm', title: 'Confirm it’s you', data: { ...confirm, unsent: true } },
    {
      name: 'confirm',
      title: 'Problem: Confirm it’s you',
      data: { ...confirm, wrong: write('No.'), unsent: false, problem: fix('password') },
    },
    { name: 'confirm', title: 'Confirm it’s you', data: { ...confirm, asks: 'code', unsent: false } },
  ];
}

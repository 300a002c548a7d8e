/** Data for the pages of two-step sign-in, see view-samples.ts. */
import { keyUri } from '../../src/accounts/totp.ts';
import { qrCode } from '../../src/accounts/totp-qr.ts';
import type { ClientTile, Problem } from '../../src/http/views.ts';
import type { Sample } from './view-samples.ts';

type Parts = {
  path: string;
  client: ClientTile;
  hidden: Record<string, string>;
  fix: (...ids: string[]) => Problem;
};

export function secondFactorSamples(write: (text: string) => string, { path, client, hidden, fix }: Parts): Sample[] {
  const at = new Date('2026-03-12T09:41:07Z');
  const email = write('ada@moreno.example');
  const right = { value: write('Ada') };
  const wrong = { ...right, wrong: write('That’s not it.') };
  const step = { action: path, client, email, code: right, hidden, remember: true, otherUrl: path };
  const uri = keyUri('JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', { issuer: 'Northgate', email: 'ada@moreno.example' });
  const setUp = {
    action: path,
    qr: qrCode(uri),
    key: 'JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP',
    hidden,
    cancelUrl: path,
  };
  return [
    { name: 'second-factor', title: 'Enter your code', data: { ...step, asks: 'totp', cancel: { action: path } } },
    {
      name: 'second-factor',
      title: 'Problem: Enter your code',
      data: { ...step, asks: 'recovery-code', code: wrong, problem: fix('code'), anotherUrl: path },
    },
    {
      name: 'second-factor',
      title: 'Use your passkey',
      data: { ...step, asks: 'passkey', passkey: { options: path }, otherUrl: undefined, cancel: { action: path } },
    },
    { name: 'few-recovery-codes', title: 'You’re signed in', data: { left: 1, continueUrl: path, renewUrl: path } },
    {
      name: 'second-factor-needed',
      title: 'One more step',
      data: { client, administrator: false, setUpUrl: path, cancel: { action: path } },
    },
    {
      name: 'second-factor-needed',
      title: 'One more step',
      data: { client, administrator: true, setUpUrl: path, cancel: { action: path } },
    },
    {
      name: 'two-step',
      title: 'Two-step sign-in',
      data: { recoveryCodesLeft: 0, browsers: [], notice: write('Off.') },
    },
    {
      name: 'two-step',
      title: 'Two-step sign-in',
      quiet: true,
      data: {
        since: at,
        recoveryCodesLeft: 9,
        browsers: [
          {
            device: write('Firefox on Linux'),
            kind: 'computer',
            address: write('192.0.2.1'),
            since: at,
            until: at,
            own: true,
            forgetUrl: path,
          },
          { device: write('Safari on iPhone'), kind: 'phone', since: at, until: at, own: false, forgetUrl: path },
        ],
      },
    },
    { name: 'two-step-set-up', title: 'Set up two-step sign-in', data: { ...setUp, keyUri: uri, code: right } },
    {
      name: 'two-step-set-up',
      title: 'Problem: Set up two-step sign-in',
      data: { ...setUp, keyUri: `${uri}${write('x')}`, code: wrong, problem: fix('code') },
    },
    {
      name: 'recovery-codes',
      title: 'Recovery codes',
      data: {
        codes: Array.from({ length: 10 }, (_, index) => `k7mw-p3rt-9dxq-hv${index}n`),
        email,
        at,
        continueUrl: path,
      },
    },
  ];
}

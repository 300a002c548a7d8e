import type { Problem } from '../../src/http/views.ts';
import type { Sample } from './view-samples.ts';

type Parts = { path: string; fix: (...ids: string[]) => Problem };

/** The passkey pages. */
export function passkeySamples(write: (text: string) => string, { path, fix }: Parts): Sample[] {
  const createdAt = new Date('2026-02-01T08:00:00Z');
  const first = { name: write('Green phone'), url: path, synced: true, createdAt };
  const passkeys = [first, { ...first, synced: false, lastUsedAt: new Date('2026-03-12T09:41:07Z') }];
  const one = { action: path, removeUrl: path, heading: write('Green phone'), name: { value: write('Ada') } };
  return [
    { name: 'passkeys', title: 'Passkeys', data: { available: true, passkeys, notice: write('Done.') } },
    { name: 'passkeys', title: 'Problem: Passkeys', data: { available: true, passkeys: [], problem: fix() } },
    { name: 'passkey', title: 'Passkey', data: one },
    {
      name: 'passkey',
      title: 'Problem: Passkey',
      data: { ...one, name: { ...one.name, wrong: write('No.') }, problem: fix('name') },
    },
  ];
}

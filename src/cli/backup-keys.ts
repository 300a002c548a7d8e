/** What locks a backup and what opens it, from options, the environment or whoever sits at the terminal; never an argument. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Key, Lock } from '../ops/backup-file.ts';
import { askSecretly } from './new-password.ts';

const shortest = 12;

export type LockOptions = { passphraseFile?: string; recipient?: string[] };
export type KeyOptions = { passphraseFile?: string; identity?: string };

export function withLockOptions(command: Command): Command {
  return command
    .option('--passphrase-file <file>', 'its first line is the passphrase, of 12 characters or more')
    .option('--recipient <age1…>', 'instead of a passphrase: who can open it; may be given again', collect);
}

export function withKeyOptions(command: Command): Command {
  return command
    .option('--passphrase-file <file>', 'its first line is the passphrase')
    .option('--identity <file>', 'instead of a passphrase: the file that age-keygen made for the recipient');
}

function collect(one: string, before: string[] = []): string[] {
  return [...before, one];
}

export async function lockFrom({ passphraseFile, recipient }: LockOptions, given: string | undefined): Promise<Lock> {
  if (recipient && passphraseFile !== undefined) {
    throw new Error('Either a passphrase or recipients: one file cannot be for both.');
  }
  if (recipient) return { recipients: recipient };
  const passphrase = await passphraseFrom(passphraseFile, given, async () => {
    const typed = await askSecretly('Passphrase: ');
    if (typed !== (await askSecretly('Once more: '))) throw new Error('The two are not the same. Nothing was done.');
    return typed;
  });
  if (passphrase.length < shortest) throw new Error(`The passphrase has less than ${shortest} characters.`);
  return { passphrase };
}

export async function keyFrom({ passphraseFile, identity }: KeyOptions, given: string | undefined): Promise<Key> {
  if (identity !== undefined) {
    const lines = (await readFile(identity, 'utf8')).split('\n').map((line) => line.trim());
    return { identities: lines.filter((line) => line !== '' && !line.startsWith('#')) };
  }
  return { passphrase: await passphraseFrom(passphraseFile, given, () => askSecretly('Passphrase: ')) };
}

async function passphraseFrom(
  file: string | undefined,
  given: string | undefined,
  ask: () => Promise<string>,
): Promise<string> {
  if (file !== undefined) return (await readFile(file, 'utf8')).split(/\r?\n/, 1)[0] ?? '';
  if (given !== undefined) return given;
  if (process.stdin.isTTY) return ask();
  throw new Error('No passphrase: give --passphrase-file, or set BACKUP_PASSPHRASE or BACKUP_PASSPHRASE_FILE.');
}

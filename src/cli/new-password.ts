/** A password from the operator: from a file, typed without being seen, or made here. */
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { randomToken } from '../lib/random.ts';

export type NewPassword = {
  password: string;
  /** It was made here: nobody else knows it, and it has to be shown. */
  generated: boolean;
};

/** 144 bits. */
const generatedBytes = 18;

/**
 * The first line of `file`, or what somebody types twice at the terminal, or a password made here where nobody can be
 * asked. Never an argument: those are in the history of the shell and in the list of processes.
 */
export async function newPassword({ file, generate }: { file?: string; generate?: true }): Promise<NewPassword> {
  if (file !== undefined) {
    const whole = file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
    return { password: whole.split(/\r?\n/, 1)[0] ?? '', generated: false };
  }
  if (generate || !process.stdin.isTTY) return { password: randomToken(generatedBytes), generated: true };
  const password = await askSecretly('Password: ');
  if (password !== (await askSecretly('Once more: '))) throw new Error('The two are not the same. Nothing was done.');
  return { password, generated: false };
}

/** Asks on stderr; the terminal shows nothing of what is typed. */
export async function askSecretly(question: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
  process.stderr.write(question);
  try {
    return await new Promise((resolve, reject) => {
      terminal.once('line', resolve);
      terminal.once('SIGINT', () => reject(new Error('Nothing was done.')));
      terminal.once('close', () => reject(new Error('Nothing was done.')));
    });
  } finally {
    terminal.close();
    process.stderr.write('\n');
  }
}

/** What a bcrypt thread can do. The calls block, which is the point: the thread is theirs alone. */
import { compareSync, hashSync } from 'bcrypt';
import { type Derivation, deriveKey } from './key-derivation.ts';

export function hash(task: { text: string; rounds: number }): string {
  return hashSync(task.text, task.rounds);
}

export function compare(task: { text: string; hash: string }): boolean {
  return compareSync(task.text, task.hash);
}

export function derive(task: { text: string; derivation: Derivation }): string {
  return deriveKey(task.text, task.derivation);
}

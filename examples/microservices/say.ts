import { basename } from 'node:path';

const program = basename(process.argv[1] ?? '', '.ts').padEnd(7);

/** Prints a line that begins with who says it: three programs share one terminal. Tokens and secrets are never said. */
export function say(text: string): void {
  console.log(`${new Date().toISOString().slice(11, 19)}  ${program}  ${text}`);
}

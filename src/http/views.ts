/**
 * The pages and what each one is given: small plain objects, never rows. Every line of HTML and every word a page always
 * says is in views/; here stand the shapes, the brand, and how a value is written. Nothing here decides what to show.
 */
import { join } from 'node:path';
import ejs from 'ejs';
import type { AccountPages } from './account-pages.ts';
import type { MailPages } from './mail-pages.ts';
import type { PasskeyPages } from './passkey-pages.ts';
import type { PasswordPages } from './password-pages.ts';
import type { SecondFactorPages } from './second-factor-pages.ts';

/** A client as people see it. */
export type ClientTile = {
  name: string;
  /** A path on this origin: a client's logo is copied and served from here. */
  logoUrl?: string | undefined;
  uri?: string | undefined;
  host?: string | undefined;
  /** Where the app's own description is, when that is all that is known of it. */
  documentHost?: string | undefined;
  policyUri?: string | undefined;
  tosUri?: string | undefined;
  /** Nobody has checked who runs it. */
  unverified: boolean;
};

/** What went wrong, said above a form: a sentence and a next step. `fields` become links to what is to mend. */
export type Problem = {
  title: string;
  text?: string | undefined;
  fields?: readonly { id: string; text: string }[] | undefined;
  link?: { href: string; before: string; text: string; after: string } | undefined;
};

/** `wrong` is what is wrong with the value, said beside the field. */
export type Field = { value: string; wrong?: string | undefined };

/** Hidden inputs by name. */
export type Hidden = Readonly<Record<string, string>>;

type Way = { url: string; label: string };

/** Under a full-page problem: the request id that the log carries too, and when it happened. */
type Reference = { reference: string; at: Date };

/** What each page is given, by the name of its file in views/. */
export type Pages = MailPages &
  AccountPages &
  PasskeyPages &
  PasswordPages &
  SecondFactorPages & {
    index: {
      issuer: string;
      discoveryUrl: string;
      playground: boolean;
      registration: boolean;
      signedIn?: { name: string; email: string } | undefined;
      clientRegistration: 'open' | 'token' | 'closed';
    };
    'sign-in': {
      action: string;
      client?: ClientTile | undefined;
      email: Field;
      password: { wrong?: string | undefined };
      problem?: Problem | undefined;
      /** What has just happened. */
      notice?: string | undefined;
      hidden: Hidden;
      registerUrl?: string | undefined;
      forgotUrl?: string | undefined;
      /** Where to say no to the client. */
      cancel?: { action: string } | undefined;
      passkeys?: boolean | undefined;
    };
    register: {
      action: string;
      client?: ClientTile | undefined;
      name: Field;
      email: Field;
      password: { wrong?: string | undefined };
      problem?: Problem | undefined;
      hidden: Hidden;
      signInUrl: string;
    };
    /** Checkboxes are named `scope` and `claim`; what is `required` is told and has none. */
    consent: {
      action: string;
      client: ClientTile;
      account: { email: string };
      anotherAccountUrl: string;
      scopes: readonly { value: string; title: string; detail: string; checked: boolean; required: boolean }[];
      claims: readonly { value: string; title: string; detail: string; checked: boolean }[];
      /** Authorization details (RFC 9396), by their place in the request. */
      details: readonly { value: string; title: string; detail: string; checked: boolean }[];
      hidden: Hidden;
    };
    /** `code` is what was typed; forms of devices go to the library, with its secret among `hidden`. */
    device: { action: string; code: Field; problem?: Problem | undefined; hidden: Hidden };
    'device-confirm': {
      action: string;
      client: ClientTile;
      /** As the device shows it. */
      userCode: string;
      /** What it will be able to do, in words. */
      scopes: readonly string[];
      /** Who is signed in here, and the value of the button that asks for somebody else. */
      account?: { email: string; another: string } | undefined;
      /** The device's address, where it is not this browser's network too. */
      elsewhere?: string | undefined;
      hidden: Hidden;
    };
    'device-ended': { outcome: 'approved' | 'denied'; client?: ClientTile | undefined; signedIn: boolean };
    interrupted: Reference & {
      client?: ClientTile | undefined;
      reason: 'expired' | 'finished' | 'elsewhere' | 'other-account';
      restart?: Way | undefined;
      /** Its way on is to type the device's code again. */
      byDevice: boolean;
      otherUrl: string;
      otherLabel: string;
    };
    /** Without an `action` the way on is the start page. */
    error: Reference & {
      title: string;
      text: readonly string[];
      client?: ClientTile | undefined;
      action?: Way | undefined;
      second?: Way | undefined;
    };
    logout: {
      action: string;
      client?: ClientTile | undefined;
      account?: { email: string } | undefined;
      hidden: Hidden;
    };
    'logged-out': { client?: ClientTile | undefined; continueUrl?: string | undefined };
    /** `fields` by their names in OIDC Core §5.1, the address in its parts. */
    profile: {
      fields: Readonly<Record<string, Field>>;
      problem?: Problem | undefined;
      notice?: string | undefined;
    };
    password: {
      email: string;
      current: { wrong?: string | undefined };
      wanted: { wrong?: string | undefined };
      problem?: Problem | undefined;
    };
    'playground/start': { startUrl: string; runUrl?: string | undefined };
    'playground/run': {
      startUrl: string;
      stage: 'unfinished' | 'stopped' | 'complete';
      steps: readonly PlaygroundStep[];
      /** What can be tried with the tokens of a complete run. */
      next: readonly {
        icon: 'refresh' | 'ask' | 'stop' | 'leave';
        /** Of the form. */
        id: string;
        action: string;
        title: string;
        text: string;
        button: string;
      }[];
    };
  };

/** A piece of a code block: the name of something, what only joins, or anything else. */
export type Ink = { text: string; as?: 'name' | 'join' | undefined };

/** A protocol step: words, the exchange, and for an ID token what it says. */
export type PlaygroundStep = {
  id: string;
  title: string;
  text: string;
  problem?: Problem | undefined;
  /** Not a problem, though there is something to be said. */
  note?: Problem | undefined;
  exchange?:
    | {
        method: string;
        path: string;
        status?: { text: string; ok: boolean } | undefined;
        aside: string;
        open: boolean;
        parts: readonly { title: string; code: readonly Ink[] }[];
        checks: readonly { text: string; ok: boolean }[];
      }
    | undefined;
  token?:
    | {
        parts: readonly string[];
        signature: { ok: boolean; title: string; before: string; kid: string | undefined; from: string | undefined };
        header: readonly Ink[];
        claims: readonly { name: string; value: string; text: string; ok: boolean }[];
        /** Names of claims that had to be there. */
        missing: readonly string[];
      }
    | undefined;
};

export type Views = {
  /** Renders a page to a string of HTML. Throws when a template fails: with data of its type none does. */
  render<Name extends keyof Pages>(name: Name, data: Pages[Name]): Promise<string>;
};

export type ViewOptions = {
  brand: { name: string; logoUrl: string | undefined; hue: number };
  /** The issuer's host, shown under every card: where you are. */
  host: string;
  /** Whether mails are kept for /dev/outbox instead of sent: pages that speak of a mail then lead there. */
  outbox?: boolean;
  /** Keeps compiled templates; without it an edit shows at the next request. */
  cache: boolean;
};

/** `brandCss` is served as /assets/brand.css, after the stylesheet that it colours. */
export function createViews({ brand, host, cache, outbox = false }: ViewOptions): Views & { brandCss: string } {
  const site = { brand, host, outbox, lang: 'en', dir: 'ltr', initials, link, day, minute, moment };
  const options: ejs.Options = {
    cache,
    // Templates see `site`, `page` and, in a partial, `locals` with what it was included with; no bare names.
    strict: true,
    _with: false,
    destructuredLocals: ['site', 'page'],
    async: false,
  };
  return {
    async render(name, data) {
      return ejs.renderFile(join(folder, `${name}.ejs`), { site, page: data }, options);
    },
    brandCss: `:root{--hue:${brand.hue}}\n`,
  };
}

const folder = join(import.meta.dirname, '../../views');

/** One or two letters that stand for a name: of its first and last word, or the first alone where letters join. */
function initials(name: string): string {
  const words = name.match(/[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu) ?? [];
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined]
    .map((word) => word?.match(/^.\p{M}*/u)?.[0].toUpperCase() ?? '')
    .filter((letter, position) => position === 0 || /\p{Lu}|\p{N}/u.test(letter));
  return letters.join('') || '?';
}

/** An address that may stand in a link: whatever a client registered, no script comes of it. */
function link(url: string): string {
  const scheme = /^[\s\p{Cc}]*([a-z\s\p{Cc}]*):/iu.exec(url)?.[1]?.replace(/[\s\p{Cc}]/gu, '');
  return /^(javascript|data|vbscript)$/i.test(scheme ?? '') ? '/' : url;
}

function day(date: Date): string {
  return date.toLocaleDateString('en-GB', { dateStyle: 'long', timeZone: 'UTC' });
}

function minute(date: Date): string {
  return `${day(date)}, ${date.toISOString().slice(11, 16)} UTC`;
}

function moment(date: Date): string {
  return `${day(date)}, ${date.toLocaleTimeString('en-GB', { timeZone: 'UTC' })} UTC`;
}

/**
 * Browsers in which a person asked not to be asked for the second factor for a while. The cookie holds a random token
 * for each of a few accounts; the rows hold hashes. A browser is forgotten when its person says so, when the password or
 * a factor changes, and after 30 days.
 */
import { and, desc, eq, gt, inArray, isNull, or, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { rememberedDevices, users } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';

const rememberedDays = 30;
const dayMs = 24 * 60 * 60 * 1000;

/** A browser holds this many tokens, the latest first. */
const mostTokens = 5;

/** `handle` names it on the account page and opens nothing. */
export type RememberedDevice = {
  handle: string;
  userAgent: string | undefined;
  address: string | undefined;
  since: Date;
  until: Date;
  here: boolean;
};

/** A request's `Cookie` header, and whether the server is on https. */
export type BrowserCookies = { cookieHeader: string | undefined; secure: boolean };

/** Whether this browser is remembered for the account. */
export async function isRemembered(
  db: Database,
  accountId: string,
  browser: BrowserCookies,
  now = new Date(),
): Promise<boolean> {
  const hashes = readTokens(browser).map(sha256);
  if (hashes.length === 0) return false;
  const [row] = await db
    .select({ tokenHash: rememberedDevices.tokenHash })
    .from(rememberedDevices)
    .innerJoin(users, eq(users.id, rememberedDevices.accountId))
    .where(and(inArray(rememberedDevices.tokenHash, hashes), goodFor(accountId, now)))
    .limit(1);
  return row !== undefined;
}

/** A password that was changed since takes the browser's word away, whoever changed it. */
function goodFor(accountId: string, now: Date) {
  return and(
    eq(rememberedDevices.accountId, accountId),
    gt(rememberedDevices.expiresAt, now),
    or(isNull(users.passwordChangedAt), sql`${rememberedDevices.createdAt} >= ${users.passwordChangedAt}`),
  );
}

/** Remembers this browser and gives the cookie to set. `maxAge` is in milliseconds, as Express has it. */
export async function rememberBrowser(
  db: Database,
  accountId: string,
  browser: BrowserCookies,
  source: AuditSource,
  now = new Date(),
) {
  const token = randomToken();
  await db.transaction(async (tx) => {
    await tx.insert(rememberedDevices).values({
      tokenHash: sha256(token),
      accountId,
      userAgent: source.userAgent?.slice(0, 300) ?? null,
      address: source.address ?? null,
      createdAt: now,
      expiresAt: new Date(now.getTime() + rememberedDays * dayMs),
    });
    await record(tx, { event: 'remembered-device.added', accountId, source });
  });
  return {
    name: cookieName(browser.secure),
    value: [token, ...readTokens(browser)].slice(0, mostTokens).join('~'),
    options: {
      httpOnly: true,
      sameSite: 'lax',
      secure: browser.secure,
      path: '/',
      maxAge: rememberedDays * dayMs,
    } as const,
  };
}

/** The newest first. */
export async function listRememberedDevices(
  db: Database,
  accountId: string,
  browser: BrowserCookies,
  now = new Date(),
): Promise<RememberedDevice[]> {
  const here = readTokens(browser).map(sha256);
  const rows = await db
    .select({ device: rememberedDevices })
    .from(rememberedDevices)
    .innerJoin(users, eq(users.id, rememberedDevices.accountId))
    .where(goodFor(accountId, now))
    .orderBy(desc(rememberedDevices.createdAt), desc(rememberedDevices.tokenHash));
  return rows.map(({ device }) => ({
    handle: handleOf(device.tokenHash),
    userAgent: device.userAgent ?? undefined,
    address: device.address ?? undefined,
    since: device.createdAt,
    until: device.expiresAt,
    here: here.includes(device.tokenHash),
  }));
}

/** Forgets one browser of the account, or all: after a change of the password or of a factor. Answers how many. */
export async function forgetBrowsers(
  db: Database,
  accountId: string,
  { handle, source }: { handle?: string | undefined; source?: AuditSource | undefined } = {},
): Promise<number> {
  return db.transaction(async (tx) => {
    const { tokenHash } = rememberedDevices;
    const one = handle === undefined ? undefined : sql`left(${tokenHash}, ${handleLength}) = ${handle}`;
    const forgotten = await tx
      .delete(rememberedDevices)
      .where(and(eq(rememberedDevices.accountId, accountId), one))
      .returning({ tokenHash });
    const { length } = forgotten;
    if (length > 0)
      await record(tx, { event: 'remembered-device.removed', accountId, source, details: { count: length } });
    return length;
  });
}

const handleLength = 16;

function handleOf(tokenHash: string): string {
  return tokenHash.slice(0, handleLength);
}

/** On https the prefix keeps other hosts of the domain from setting it; on plain http browsers would refuse it. */
function cookieName(secure: boolean): string {
  return secure ? '__Host-latchkey-remembered' : 'latchkey-remembered';
}

function readTokens({ cookieHeader, secure }: BrowserCookies): string[] {
  const start = `${cookieName(secure)}=`;
  const cookies = (cookieHeader ?? '').split(';').map((each) => each.trim());
  const tokens =
    cookies
      .find((each) => each.startsWith(start))
      ?.slice(start.length)
      .split('~') ?? [];
  return tokens.filter((token) => /^[\w-]{43}$/.test(token)).slice(0, mostTokens);
}

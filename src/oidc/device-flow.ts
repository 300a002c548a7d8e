/**
 * Signing in on a device without a browser (RFC 8628): how the library's device flow is set up, and what it leaves to
 * us: themed pages that work without script, and polls that come too fast. Storage and its races are in device-codes.ts,
 * reading and guessing of what people type in user-codes.ts, the words in interactions/.
 */
import type { Configuration, ErrorOut, KoaContextWithOIDC } from 'oidc-provider';
import type { ApiDirectory } from '../apis/api-directory.ts';
import { type Database, isUnavailable } from '../db/database.ts';
import { addressKey } from '../http/rate-limit.ts';
import { claimTurn } from '../http/throttle.ts';
import { longCookie } from './cookies.ts';
import { type Decision, decisionOf, findDecision } from './device-codes.ts';
import { markOutage } from './outage.ts';
import type { LibraryPages, RequestFacts } from './pages.ts';
import { sessionTtl } from './policy.ts';
import { type AskedApi, askedApis } from './resource-servers.ts';
import { supportedScopes } from './scopes.ts';
import { addressOf, asShown, readUserCode, TooManyCodes } from './user-codes.ts';

/** Why the page for the code is shown again. */
export type CodeProblem = 'missing' | 'unknown' | 'expired' | 'used' | 'stale' | 'throttled';

/** The pages of the device flow, as HTML; supplied by `app.ts`. Forms go to `action` with `secret` as `xsrf`. */
export type DevicePageSource = {
  code(page: { action: string; secret: string; typed: string; problem?: CodeProblem }): Promise<string>;
  confirm(page: {
    action: string;
    secret: string;
    /** As the device shows it. */
    userCode: string;
    clientId: string;
    /** Who is signed in in this browser. */
    accountId: string | undefined;
    scopes: readonly string[];
    apis: readonly AskedApi[];
    /** Where the device asked from, unless that is this browser's network too. */
    elsewhere: string | undefined;
  }): Promise<string>;
  ended(page: Decision, request: RequestFacts): Promise<string>;
};

export type DeviceFlowDependencies = {
  db: Database;
  apis: ApiDirectory;
  pages: LibraryPages;
  devicePages: DevicePageSource;
};

type DeviceFlow = Extract<NonNullable<NonNullable<Configuration['features']>['deviceFlow']>, object>;
type Ctx = KoaContextWithOIDC;

/** Seconds between polls (RFC 8628 §3.2), … */
const intervalSeconds = 5;
/** … of which the way through the network may take one off. */
const leastSeconds = intervalSeconds - 1;

/** `features.deviceFlow`: themed pages, and codes of eight letters that are not easily mixed up. */
export function deviceFlow({ db, apis, pages, devicePages }: DeviceFlowDependencies): DeviceFlow {
  return {
    enabled: true,
    charset: 'base-20',
    mask: '****-****',
    deviceInfo: (ctx) => ({ address: addressOf(ctx) }),
    userCodeInputSource: (ctx, _form, out, error) =>
      markOutage(error && out ? showProblem(ctx, out, error) : showTyped(ctx)),
    userCodeConfirmSource: (ctx) => markOutage(showConfirm(ctx)),
    // The page behind the decision is one that can be loaded again.
    successSource: (ctx) => goToEnd(ctx),
  };

  /** `GET /device`: the form for the code; with the code in the address, what comes after it. */
  async function showTyped(ctx: Ctx): Promise<void> {
    const typed = ctx.state.userCode as string | undefined;
    if (typed === undefined) return showCode(ctx, '');
    const code = await ctx.oidc.provider.DeviceCode.findByUserCode(typed, { ignoreExpiration: true });
    if (!code) return showCode(ctx, typed, 'unknown');
    const decision = decisionOf(code);
    if (decision && isShown(ctx, decision)) return html(ctx, await devicePages.ended(decision, facts(ctx)));
    if (decision) return showCode(ctx, '', 'used');
    if (code.isExpired) return showCode(ctx, '', 'expired');
    ctx.oidc.entity('DeviceCode', code);
    await showConfirm(ctx);
  }

  /** Nothing is allowed yet: what asks, for what, and the code to hold against the device's screen (§5.4). */
  async function showConfirm(ctx: Ctx): Promise<void> {
    const { deviceCode, session } = ctx.oidc;
    if (!deviceCode) throw new Error('there is no device code to confirm');
    const { clientId = '', deviceInfo, userCode } = deviceCode;
    const params = deviceCode.params as { scope?: string; resource?: string | string[] };
    const { address } = (deviceInfo ?? {}) as { address?: string };
    const page = await devicePages.confirm({
      ...formOf(ctx),
      userCode: asShown(userCode),
      clientId,
      accountId: session?.accountId,
      scopes: (params.scope ?? '').split(' ').filter((scope) => supportedScopes.includes(scope)),
      apis: await askedApis(apis, clientId, params),
      elsewhere: addressKey(address) === addressKey(addressOf(ctx)) ? undefined : address,
    });
    html(ctx, page);
  }

  async function showProblem(ctx: Ctx, out: ErrorOut, error: Error): Promise<void> {
    const problem = problemOf(error);
    if (!problem) {
      // The library has put a new secret into the session, for a form that is not shown.
      if (ctx.oidc.session) (ctx.oidc.session as { touched?: boolean }).touched = false;
      return error.name === 'AbortedError' ? goToEnd(ctx) : pages.error(ctx, out, error);
    }
    const typed = typedCode(ctx);
    // A button pressed twice: the first press decided, and its answer is what the person should see.
    const decision =
      problem === 'used' || problem === 'stale' ? await findDecision(db, readUserCode(typed)) : undefined;
    if (decision && isShown(ctx, decision)) return goToEnd(ctx, typed);
    if (error instanceof TooManyCodes) ctx.set('Retry-After', String(error.retryAfterSeconds));
    await showCode(ctx, problem === 'expired' || problem === 'used' ? '' : typed, problem);
  }

  async function showCode(ctx: Ctx, typed: string, problem?: CodeProblem): Promise<void> {
    if (problem) {
      await keepSession(ctx);
      ctx.status = problem === 'throttled' ? 429 : 422;
    }
    html(ctx, await devicePages.code({ ...formOf(ctx), typed, ...(problem && { problem }) }));
  }
}

/** An approval is told to the browser that gave it, a denial to anyone with the code. */
function isShown(ctx: Ctx, { outcome, sessionUid }: Decision): boolean {
  return outcome === 'denied' || sessionUid === ctx.oidc.session?.uid;
}

/** 303 after the POST (SECURITY 23); what was decided is looked up under the code. */
async function goToEnd(ctx: Ctx, typed?: string): Promise<void> {
  const { deviceCode, entities, provider } = ctx.oidc;
  const id = entities.Interaction?.deviceCode;
  const code = deviceCode ?? (id === undefined ? undefined : await provider.DeviceCode.find(id));
  const page = new URL(ctx.oidc.urlFor('code_verification'));
  page.searchParams.set('user_code', asShown(code?.userCode ?? readUserCode(typed ?? '')));
  ctx.status = 303;
  ctx.redirect(page.pathname + page.search);
}

function problemOf(error: Error): CodeProblem | undefined {
  if (error instanceof TooManyCodes) return 'throttled';
  const { error_description: description } = error as { error_description?: string };
  return problems[error.name] ?? (staleForm.has(description ?? '') ? 'stale' : undefined);
}

/** The library's errors of the form, by name. */
const problems: Record<string, CodeProblem> = {
  NoCodeError: 'missing',
  NotFoundError: 'unknown',
  ExpiredError: 'expired',
  AlreadyUsedError: 'used',
};

/** The form is not this session's newest. Our own sites' forms alone get this far, so nothing is to be feared. */
const staleForm = new Set(['could not find device form details', 'xsrf token invalid']);

function formOf(ctx: Ctx): { action: string; secret: string } {
  const { secret = '' } = (ctx.oidc.session?.state ?? {}) as { secret?: string };
  return { action: new URL(ctx.oidc.urlFor('code_verification')).pathname, secret };
}

/** A form that came without a session begins one here; the library only ever saves those that were there before. */
async function keepSession(ctx: Ctx): Promise<void> {
  const { provider } = ctx.oidc;
  const session = ctx.oidc.session as typeof ctx.oidc.session & { exp?: number };
  if (!session || session.exp !== undefined) return;
  await session.save(sessionTtl(undefined));
  const expires = new Date((session.exp ?? 0) * 1000);
  ctx.cookies.set(provider.cookieName('session'), session.jti, { ...longCookie, expires });
}

function html(ctx: Ctx, page: string): void {
  ctx.type = 'html';
  ctx.body = page;
}

const facts = ({ req, res }: Ctx): RequestFacts => ({ req, res });

/** What the person typed, in the form or in the address. */
function typedCode(ctx: Ctx): string {
  const { user_code: typed } = (ctx.oidc.body ?? {}) as { user_code?: unknown };
  return typeof typed === 'string' ? typed : ((ctx.state.userCode as string | undefined) ?? '');
}

/** Around the library: takes a code out of the address of a page, and tells devices how often to ask (§3.2, §3.5). */
export async function deviceMiddleware(db: Database, ctx: Ctx, next: () => Promise<void>): Promise<void> {
  const { user_code: typed, ...query } = ctx.query;
  if (ctx.method !== 'POST' && typed !== undefined) {
    // Else the library answers with a form that sends itself by script.
    ctx.query = query;
    ctx.state.userCode = String(typed);
  }
  await next();
  const body = ctx.body as Record<string, unknown> | undefined;
  if (ctx.oidc?.route === 'device_authorization' && ctx.status === 200)
    Object.assign(body ?? {}, { interval: intervalSeconds });
  if (ctx.oidc?.route === 'token' && body?.error === 'authorization_pending') await slowDown(db, ctx);
}

/** One conditional statement per poll: whoever comes again before the interval is over must wait longer. */
async function slowDown(db: Database, ctx: Ctx): Promise<void> {
  const key = `device-poll:${ctx.oidc.params?.device_code}`;
  try {
    if (await claimTurn(db, key, leastSeconds)) return;
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    ctx.status = 503;
    return;
  }
  ctx.body = { error: 'slow_down', error_description: 'polling too fast: wait five seconds more between polls' };
}

import type { ErrorOut, KoaContextWithOIDC } from 'oidc-provider';
import { answeredError } from './answers.ts';

export type ErrorPage = {
  status: number;
  /** RFC 6749 code and sentence, as they would go to the client. */
  error: string;
  description: string | undefined;
  clientId: string | undefined;
  clientName: string | undefined;
};

/** The pages that the library asks for, as HTML; supplied by `app.ts`. `reference` is the request id. */
export type PageSource = {
  error(page: ErrorPage, request: RequestFacts): Promise<string>;
  /** A step that this browser cannot go on with; `uid` is the interaction's, as far as the address tells. */
  interrupted(uid: string | undefined, request: RequestFacts, reason?: 'other-account'): Promise<string>;
  /** An error answer to an application nobody vouches for: the person decides whether to follow `location`. */
  heldRedirect(page: ErrorPage & { location: string }, request: RequestFacts): Promise<string>;
  logout(
    page: { action: string; secret: string; clientId: string | undefined; accountId: string | undefined },
    request: RequestFacts,
  ): Promise<string>;
  /** Undefined when somebody is still signed in here: they chose to stay. */
  loggedOut(page: { clientId: string | undefined }, request: RequestFacts): Promise<string | undefined>;
};

/** The raw answer, from which the application's own parts read their request id. */
export type RequestFacts = { res: KoaContextWithOIDC['res']; req: KoaContextWithOIDC['req'] };

export type LibraryPages = ReturnType<typeof libraryPages>;

/** Fits our pages into the places where the library would render its own. */
export function libraryPages(source: PageSource) {
  const facts = (ctx: KoaContextWithOIDC): RequestFacts => ({ req: ctx.req, res: ctx.res });
  const html = (ctx: KoaContextWithOIDC, body: string) => {
    ctx.type = 'html';
    ctx.body = body;
  };
  const errorPage = (ctx: KoaContextWithOIDC, out: ErrorOut): ErrorPage => ({
    status: ctx.status,
    error: out.error,
    description: out.error_description,
    clientId: ctx.oidc?.client?.clientId,
    clientName: ctx.oidc?.client?.clientName,
  });

  return {
    async error(ctx: KoaContextWithOIDC, out: ErrorOut, error: Error) {
      if (error.name === 'SessionNotFound') {
        const { uid } = ctx.params as { uid?: string };
        return html(ctx, await source.interrupted(uid, facts(ctx)));
      }
      html(ctx, await source.error(errorPage(ctx, out), facts(ctx)));
    },
    async overtaken(ctx: KoaContextWithOIDC) {
      const { uid } = ctx.params as { uid?: string };
      ctx.status = 400;
      html(ctx, await source.interrupted(uid, facts(ctx), 'other-account'));
    },
    async heldRedirect(ctx: KoaContextWithOIDC, location: string) {
      const out = answeredError(new URL(location).searchParams) ?? { error: '', error_description: '' };
      html(ctx, await source.heldRedirect({ ...errorPage(ctx, out), location }, facts(ctx)));
    },
    async notFound(ctx: KoaContextWithOIDC) {
      ctx.status = 404;
      const out = { error: 'not_found', error_description: 'There is nothing at this address.' };
      if (ctx.accepts('json', 'html') === 'html') html(ctx, await source.error(errorPage(ctx, out), facts(ctx)));
      else ctx.body = out;
      ctx.status = 404;
    },
    async logout(ctx: KoaContextWithOIDC) {
      const { session, client } = ctx.oidc;
      const action = new URL(ctx.oidc.urlFor('end_session_confirm')).pathname;
      const { secret = '' } = (session?.state ?? {}) as { secret?: string };
      html(
        ctx,
        await source.logout({ action, secret, clientId: client?.clientId, accountId: session?.accountId }, facts(ctx)),
      );
    },
    async loggedOut(ctx: KoaContextWithOIDC) {
      const page = await source.loggedOut({ clientId: ctx.oidc.client?.clientId }, facts(ctx));
      if (page === undefined) ctx.redirect('/account');
      else html(ctx, page);
    },
  };
}

import type { Request, Response } from 'express';
import { isForm } from './body.ts';
import { requestId } from './request-log.ts';
import { type ContentSecurityPolicy, noStore } from './security-headers.ts';
import type { Pages as PageData, Views } from './views.ts';

export type PageOptions = {
  status?: number;
  /** CSP sources that the answer to this page's forms may redirect to, besides this origin. */
  formAction?: readonly (string | undefined)[];
};

export type Pages = {
  /** Answers with a page, never cached. */
  page<Name extends keyof PageData>(
    res: Response,
    name: Name,
    data: PageData[Name],
    options?: PageOptions,
  ): Promise<void>;
  /** The page as text, for answers that are not Express's. */
  html: Views['render'];
};

export function createPages(views: Views, policy: ContentSecurityPolicy): Pages {
  return {
    async page(res, name, data, options = {}) {
      const body = await views.render(name, data);
      noStore(res);
      const targets = options.formAction?.filter((source) => source !== undefined);
      if (targets?.length) res.setHeader('Content-Security-Policy', policy(targets));
      res
        .status(options.status ?? 200)
        .type('html')
        .send(body);
    },
    html: views.render,
  };
}

/** True when a person is looking: what was sent is answered in kind, and without a body a page is preferred to JSON. */
export function wantsPage(req: Request): boolean {
  if (isForm(req)) return true;
  return !req.is('application/json') && req.accepts(['json', 'html']) === 'html';
}

/** What every page about a problem carries, to be quoted to an operator who then finds it in the log. */
export function reference(res: Response): { reference: string; at: Date } {
  return { reference: requestId(res), at: new Date() };
}

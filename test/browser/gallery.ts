/** Every page with sample data, served with the assets and the policy that the application serves it with. */
import { createServer } from 'node:http';
import express from 'express';
import { assets } from '../../src/http/assets.ts';
import { createPages } from '../../src/http/pages.ts';
import { createContentSecurityPolicy, securityHeaders } from '../../src/http/security-headers.ts';
import { createViews } from '../../src/http/views.ts';
import { type Sample, samples, writings } from '../http/view-samples.ts';
import { endServer, listen } from '../support/listen.ts';

type Writing = 'plain' | 'worst';

/** In all ways of `writings` at once. */
const worst = (text: string) => Object.values(writings).reduce((written, write) => write(written), text);

/** `url` is where the sample at that position is shown, with data that is plain, or as bad as can be written into it. */
export async function openGallery(): Promise<{
  url(position: number, writing: Writing): string;
  close(): Promise<void>;
}> {
  const views = createViews({
    brand: { name: 'Northgate', logoUrl: undefined, hue: 178 },
    host: 'id.northgate.example',
    cache: true,
  });
  const policy = createContentSecurityPolicy();
  const pages = createPages(views, policy);
  const app = express();
  app.use(securityHeaders(false, policy));
  app.use('/assets', assets(views.brandCss));
  app.get([/^\/logos\//, '/way'], (_req, res) => res.type('svg').send('<svg xmlns="http://www.w3.org/2000/svg"/>'));
  // Pages that offer passkeys ask at once; there is nothing to be offered here.
  app.post('/auth/passkey/options', (_req, res) => res.json({}));
  app.get('/:position/:writing', async (req, res) => {
    const sample = samples(req.params.writing === 'worst' ? worst : String)[Number(req.params.position)] as Sample;
    await pages.page(res, sample.name, sample.data as never);
  });
  const server = createServer(app);
  const origin = `http://127.0.0.1:${await listen(server)}`;
  return {
    url: (position, writing) => `${origin}/${position}/${writing}`,
    close: () => endServer(server),
  };
}

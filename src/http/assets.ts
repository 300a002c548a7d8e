import { createRequire } from 'node:module';
import { join } from 'node:path';
import express, { type Router } from 'express';

const folder = join(import.meta.dirname, '../../views/assets');

/** The browser's half of WebAuthn, as its package has it in one file. */
const webauthn = join(
  createRequire(import.meta.url).resolve('@simplewebauthn/browser'),
  '../../dist/bundle/index.umd.min.js',
);

/** The stylesheet, the script and the mark, and the one rule of CSS that branding is. */
export function assets(brandCss: string): Router {
  const router = express.Router();
  router.get('/brand.css', (_req, res) => {
    res.set('Cache-Control', 'public, max-age=300').type('css').send(brandCss);
  });
  router.get('/webauthn.js', (_req, res) => res.sendFile(webauthn, { maxAge: '5m' }));
  router.use(express.static(folder, { maxAge: '5m', index: false, redirect: false }));
  return router;
}

/**
 * Chapter 1: the server of the app, which serves four files and keeps no secret. It makes itself known to the provider
 * (register.ts), bundles the app with the two facts it has to know, and sends the headers that keep other people's
 * scripts out of the page. Everything else happens in the browser: app/main.ts.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { build, stop } from 'esbuild';
import { clientIdFor } from './register.ts';

const issuer = process.env.ISSUER ?? 'http://localhost:3000/oidc';
const port = Number(process.env.PORT ?? 5173);
/** By name: browsers know `localhost` and 127.0.0.1 as two origins, and redirect URIs are compared by character. */
const origin = `http://localhost:${port}`;

const clientId = await clientIdFor(issuer, origin).catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});

const { outputFiles } = await build({
  entryPoints: [join(import.meta.dirname, 'app/main.ts')],
  define: { ISSUER: JSON.stringify(issuer), CLIENT_ID: JSON.stringify(clientId) },
  bundle: true,
  format: 'esm',
  target: 'es2022',
  sourcemap: 'inline',
  write: false,
});
await stop();

const file = (name: string) => readFile(join(import.meta.dirname, 'public', name));
const page = { type: 'text/html; charset=utf-8', body: await file('index.html') };
const files = new Map([
  ['/', page],
  // Where the provider sends the browser back to: the same page, which reads its own address.
  ['/callback', page],
  ['/signed-out', page],
  ['/app.js', { type: 'text/javascript; charset=utf-8', body: outputFiles[0]?.contents }],
  ['/style.css', { type: 'text/css; charset=utf-8', body: await file('style.css') }],
  ['/mark.svg', { type: 'image/svg+xml', body: await file('mark.svg') }],
]);

/**
 * Whoever runs a script in this page can act as the person while it is open; DPoP does not change that. So scripts come
 * from here only, none is written into the page, text never becomes markup, and the page speaks to the issuer alone.
 */
const headers = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src ${new URL(issuer).origin}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  // The address of the callback carries a code, and is nobody else's business.
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};

createServer((req, res) => {
  const url = new URL(req.url ?? '/', origin);
  const found = files.get(url.pathname);
  if (req.headers.host !== `localhost:${port}`) {
    res.writeHead(307, { ...headers, location: `${origin}/` }).end();
  } else if (!found) {
    res.writeHead(404, { ...headers, 'content-type': 'text/plain' }).end(`There is no such page. Go to ${origin}/\n`);
  } else if (req.method !== 'GET' && req.method !== 'HEAD') {
    res.writeHead(405, { ...headers, allow: 'GET, HEAD' }).end();
  } else {
    res.writeHead(200, { ...headers, 'content-type': found.type }).end(found.body);
  }
})
  .on('error', (error) => {
    console.error(`Port ${port} cannot be used (${error.message}). Choose another: PORT=5174 npm start …`);
    process.exit(1);
  })
  .listen(port, '127.0.0.1', () => {
    console.log(
      `Lamplight is ready.\n\n  Open      ${origin}/\n  Provider  ${issuer}\n  Client    ${clientId}\n` +
        `  Sign in   with an account of ${new URL(issuer).origin}, or make one on the way\n`,
    );
  });

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));

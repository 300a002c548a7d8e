/**
 * Fernwood Library: a web application that has people sign in at Latchkey. This file is the table of contents; the chapters
 * are meant to be read in the order of the README.
 */
import express from 'express';
import helmet from 'helmet';
import { takeLogoutToken } from './backchannel-logout.ts';
import { finishSignIn } from './callback.ts';
import { showCard, showHistory, showHome, showProfile } from './pages.ts';
import { showError, showNotFound } from './problems.ts';
import { baseUrl, giveUp, issuer, port, secure } from './settings.ts';
import { showSignIn } from './sign-in.ts';
import { showSignedOut, signOut } from './sign-out.ts';
import { signedIn, twoFactors } from './step-up.ts';

const app = express();
app.set('view engine', 'ejs');
app.set('views', `${import.meta.dirname}/views`);

app.use(
  helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'"],
        // Browsers hold the redirect after a form to this as well, and that of "Sign out" leads to the provider.
        formAction: ["'self'", new URL(issuer).origin],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    // With helmet's `no-referrer` forms of our own would come with `Origin: null`.
    referrerPolicy: { policy: 'same-origin' },
    strictTransportSecurity: secure,
    xFrameOptions: { action: 'deny' },
  }),
);
app.use(express.static(`${import.meta.dirname}/public`));
app.use((_req, res, next) => {
  res.set('cache-control', 'no-store');
  next();
});

app.get('/', showHome);
app.get('/sign-in', showSignIn);
app.get('/callback', finishSignIn);
app.get('/profile', signedIn(showProfile));
app.get('/history', signedIn(showHistory, { maxAge: 5 * 60 }));
app.get('/card', signedIn(showCard, { acr: twoFactors }));
app.post('/sign-out', signOut);
app.get('/signed-out', showSignedOut);
app.post('/backchannel-logout', express.urlencoded({ extended: false, limit: '16kb' }), takeLogoutToken);
app.use(showNotFound);
app.use(showError);

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) giveUp(`Port ${port} cannot be used (${error.message}). Set PORT to a free one.`);
  console.log(`Fernwood Library is ready.

  Open     ${baseUrl}
  Sign in  with an account of ${new URL(issuer).origin}, or make one on the way
`);
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
server.requestTimeout = 30_000;

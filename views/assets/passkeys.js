/* Asks the browser for a passkey and sends its answer with the form that the button stands in. Loaded by app.js, only
   where a page offers passkeys and the browser has them. */
import './webauthn.js';

const { startAuthentication, startRegistration, browserSupportsWebAuthnAutofill } = globalThis.SimpleWebAuthnBrowser;

/** A question in the list of the username field can be left open for long; its challenge cannot. */
const staleMs = 4 * 60 * 1000;

class Failed extends Error {}

async function optionsFor(form) {
  const response = await fetch(form.dataset.options, {
    method: 'POST',
    headers: { accept: 'application/json', 'content-type': 'application/json' },
    body: '{}',
  });
  const answer = await response.json().catch(() => ({}));
  if (answer.error === 'recent_sign_in_required' || answer.error === 'login_required') {
    location.assign(`/auth/confirm?return_to=${encodeURIComponent(location.pathname)}`);
    return new Promise(() => {});
  }
  if (!response.ok) throw new Failed(answer.error_description);
  return answer;
}

/** Once: the button and the list of the field may both have been answered. */
function send(form, handle, credential) {
  if (form.dataset.sent) return;
  form.dataset.sent = 'yes';
  for (const [name, value] of Object.entries({ handle, credential: JSON.stringify(credential) })) {
    const input = form.querySelector(`input[name="${name}"]`) ?? form.appendChild(document.createElement('input'));
    Object.assign(input, { type: 'hidden', name, value });
  }
  form.submit();
}

function tell(form, error) {
  const notice = form.querySelector('[data-passkey-problem]');
  const words = notice.querySelector('p');
  const { failed, known, stopped } = words.dataset;
  // The browser says so of a device that is among `excludeCredentials`, and of nothing else here.
  words.textContent = error instanceof Failed ? failed : error.name === 'InvalidStateError' ? known : stopped;
  notice.setAttribute('role', 'alert');
  notice.hidden = false;
}

async function ask(form) {
  form.querySelector('[data-passkey-problem]').hidden = true;
  try {
    const { handle, options } = await optionsFor(form);
    const start = form.dataset.passkey === 'create' ? startRegistration : startAuthentication;
    send(form, handle, await start({ optionsJSON: options }));
  } catch (error) {
    tell(form, error);
    offerInField(form);
  }
}

/** Conditional mediation: passkeys among the suggestions of the username field. */
async function offerInField(form) {
  if (!('autofill' in form.dataset) || !(await browserSupportsWebAuthnAutofill())) return;
  try {
    const { handle, options } = await optionsFor(form);
    const askedAt = performance.now();
    const again = () => {
      if (document.visibilityState !== 'visible' || performance.now() - askedAt < staleMs) return;
      document.removeEventListener('visibilitychange', again);
      document.removeEventListener('focusin', again);
      offerInField(form);
    };
    document.addEventListener('visibilitychange', again);
    document.addEventListener('focusin', again);
    send(form, handle, await startAuthentication({ optionsJSON: options, useBrowserAutofill: true }));
  } catch {
    // Asked anew, or by the button; or the browser has none to offer.
  }
}

// Coming back to a page that was kept as it stood.
window.addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('[data-sent]')) delete form.dataset.sent;
});

for (const button of document.querySelectorAll('[data-enhance="passkey"]')) {
  const { form } = button;
  button.addEventListener('click', () => ask(form));
  form.hidden = false;
  button.hidden = false;
  offerInField(form);
}
const unsupported = document.getElementById('passkey-unsupported');
if (unsupported) unsupported.hidden = true;

/* Pages are complete without this. Each [data-enhance] control is rendered hidden and shown here only when it can be
   served. Plain syntax and no assumptions: older browsers and test clients run it too. */

function mask(input, button) {
  input.type = 'password';
  button.setAttribute('aria-pressed', 'false');
  button.firstChild.nodeValue = button.getAttribute('data-show');
}

function unmask(input, button) {
  input.type = 'text';
  button.setAttribute('aria-pressed', 'true');
  button.firstChild.nodeValue = button.getAttribute('data-hide');
}

function reveal(button) {
  const input = document.getElementById(button.getAttribute('aria-controls'));
  if (!input) return;
  button.addEventListener('click', () => (input.type === 'password' ? unmask : mask)(input, button));
  // A password sent as plain text would end up among the browser's suggestions, or in view on the way back.
  input.form.addEventListener('submit', () => mask(input, button));
  window.addEventListener('pagehide', () => mask(input, button));
  button.hidden = false;
}

document.querySelectorAll('[data-enhance="reveal"]').forEach(reveal);

/* A guess at how well a password holds, in one of four sentences of the page. The server decides. */
function strengthOf(password) {
  const characters = Array.from(password);
  if (characters.length < 8) return 'short';
  if (new Set(characters).size < 5 || /^[\d\s./-]+$/.test(password)) return 'simple';
  const words = password.split(/[\s._-]+/).filter((word) => word.length > 2);
  return characters.length >= 16 || (words.length > 2 && characters.length >= 12) ? 'good' : 'fair';
}

document.querySelectorAll('[data-enhance="strength"]').forEach((words) => {
  const input = document.getElementById(words.getAttribute('data-of'));
  if (!input) return;
  input.addEventListener('input', () => {
    words.hidden = input.value === '';
    const said = input.value === '' ? '' : words.getAttribute(`data-${strengthOf(input.value)}`);
    // Said once, not with every letter.
    if (words.textContent !== said) words.textContent = said;
  });
});

// Passkeys take a script of their own, where the page offers them and this browser has them.
if (document.querySelector('[data-enhance="passkey"]') && window.PublicKeyCredential) {
  const script = document.createElement('script');
  script.type = 'module';
  script.src = '/assets/passkeys.js';
  document.head.appendChild(script);
}

// The second of two quick clicks would undo the first: its answer is thrown away, and the step is over by then.
let sentAt = -Infinity;
document.addEventListener('submit', (event) => {
  if (event.timeStamp - sentAt < 1000) event.preventDefault();
  else sentAt = event.timeStamp;
});

// Coming back to a form with a problem, or loading it again, would otherwise ask whether to send it again.
history.replaceState(history.state, '', location.href);

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

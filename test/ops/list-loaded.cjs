// Preloaded into a server: writes down at its end which files it loaded, and of Node's own parts which. Threads have other lists.
const { writeFileSync } = require('node:fs');
const { registerHooks } = require('node:module');
const { isMainThread } = require('node:worker_threads');

if (isMainThread) {
  const loaded = new Set();
  registerHooks({
    load(url, context, next) {
      loaded.add(url);
      return next(url, context);
    },
  });
  process.on('exit', () => writeFileSync(process.env.LIST_LOADED, [...loaded, ...process.moduleLoadList].join('\n')));
}

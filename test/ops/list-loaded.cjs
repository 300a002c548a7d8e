// Preloaded into a server: writes down at its end which files of packages it loaded. Workers in threads have other lists.
const { writeFileSync } = require('node:fs');
const { isMainThread } = require('node:worker_threads');

if (isMainThread) {
  process.on('exit', () => writeFileSync(process.env.LIST_LOADED, Object.keys(require.cache).join('\n')));
}

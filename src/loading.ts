/**
 * Halves what a start costs. For the first lines of a program, which then imports the rest dynamically: what is
 * imported beside this file is looked for before it runs.
 */
import { enableCompileCache, type ResolveFnOutput, registerHooks } from 'node:module';
import { join } from 'node:path';

// Compiled code is kept for the next start. Where the folder cannot be written, nothing is kept and nothing is said.
enableCompileCache(join(import.meta.dirname, '../node_modules/.cache/latchkey/compiled'));

// Node 24 parses a package.json whenever it looks for a file of the package, and Drizzle's is 180 KB long: with 100 files
// of its own and 90 of ours that name it, that is half of all loading. So Node is asked once for each name.
const found = new Map<string, ResolveFnOutput>();
registerHooks({
  resolve(specifier, context, next) {
    if (specifier.startsWith('./') || specifier.startsWith('../')) {
      return context.parentURL?.includes('/node_modules/drizzle-orm/') && specifier.endsWith('.js')
        ? { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true }
        : next(specifier, context);
    }
    if (!/^drizzle-orm(\/|$)/.test(specifier)) return next(specifier, context);
    const answer = found.get(specifier) ?? { ...next(specifier, context), shortCircuit: true };
    found.set(specifier, answer);
    return answer;
  },
});

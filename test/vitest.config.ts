import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

const root = join(import.meta.dirname, '..');

// For the workers, and what they start: what V8 has compiled is kept, as src/loading.ts does for the server.
process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules/.cache/latchkey/compiled');

export default defineConfig({
  root,
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/global-setup.ts',
    pool: 'forks',
    // One more than two cores can run: the others work while it waits. Each brings bcrypt threads, and some a browser, so still
    // more of them only wait for each other.
    maxWorkers: 3,
    // Nothing in src keeps state at module level, so files may share what they import: a third of the time.
    isolate: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});

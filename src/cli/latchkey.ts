/**
 * The operator's command line. Each command parses its options, calls the same functions as the routes and prints what
 * came of it; no rule lives here. Exit status: 0 done, 1 failed, 2 not understood.
 */
import '../loading.ts';

// `latchkey … | head` closes the pipe early; that is no failure.
process.stdout.on('error', () => process.exit(0));
const { run } = await import('./run.ts');
process.exitCode = await run(process.argv);

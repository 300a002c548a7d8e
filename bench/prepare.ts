/** Several commands of the operator's in one process, each a list of words; between their answers stands a line of its own. */
import '../src/loading.ts';

export const betweenAnswers = '\n--- next ---\n';

if (import.meta.main) {
  const { run } = await import('../src/cli/run.ts');
  for (const command of JSON.parse(process.argv[2] ?? '[]') as string[][]) {
    await run([process.execPath, 'latchkey', ...command, '--json']);
    process.stdout.write(betweenAnswers);
  }
}

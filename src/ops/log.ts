import { destination, type Logger, type LoggerOptions, pino } from 'pino';

/**
 * The log, on standard output. What is logged in one turn of the event loop is written at the end of it, at once: a
 * write for each line costs as much as a tenth of a token request. Even `kill -9` loses no more than that turn.
 */
export function createLog(options: LoggerOptions): Logger {
  const output = destination({ dest: 1, sync: true });
  let lines = '';
  const flush = () => {
    if (lines !== '') output.write(lines);
    lines = '';
  };
  process.on('exit', flush);
  return pino(options, {
    write(line) {
      if (lines === '') setImmediate(flush);
      lines += line;
    },
  });
}

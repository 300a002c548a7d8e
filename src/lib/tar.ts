/** The little of tar that a stream of small files needs (POSIX ustar), so that any tar opens what is written here. */

export type TarEntry = { name: string; body: Buffer };

const block = 512;

/** One file with all that stands around it. `name` is ASCII of at most 100 characters. */
export function tarEntry(name: string, body: Buffer): Buffer {
  const header = Buffer.alloc(block);
  header.write(name, 0, 100, 'ascii');
  header.write('0000600\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('0', 156);
  header.write('ustar\u000000', 257);
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, body, Buffer.alloc(-body.length & (block - 1))]);
}

/** What ends an archive. */
export const tarEnd = Buffer.alloc(2 * block);

/**
 * The files of an archive that `tarEntry` made, in order.
 * @throws when it is another archive, or no whole one, or holds a file of more than `largest` bytes
 */
export async function* readTar(source: AsyncIterable<Uint8Array>, largest: number): AsyncGenerator<TarEntry> {
  const { take, drain } = takeFrom(source);
  for (;;) {
    const header = await take(block);
    if (header.every((byte) => byte === 0)) return drain();
    const size = Number.parseInt(header.toString('ascii', 124, 135), 8);
    if (header.toString('ascii', 257, 262) !== 'ustar' || !(size <= largest)) throw new Error('not an archive of ours');
    const [name = ''] = header.toString('ascii', 0, 100).split('\0');
    const whole = await take(size + (-size & (block - 1)));
    yield { name, body: whole.subarray(0, size) };
  }
}

/** Takes so many bytes at a time, however they come in, and at last all that is left. */
function takeFrom(source: AsyncIterable<Uint8Array>) {
  const chunks = source[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  const take = async (bytes: number): Promise<Buffer> => {
    const parts = [rest];
    for (let length = rest.length; length < bytes; ) {
      const { value, done } = await chunks.next();
      if (done) throw new Error('the archive ends too early');
      parts.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
      length += value.byteLength;
    }
    const all = parts.length === 1 ? rest : Buffer.concat(parts);
    rest = all.subarray(bytes);
    return all.subarray(0, bytes);
  };
  const drain = async (): Promise<void> => {
    while (!(await chunks.next()).done);
  };
  return { take, drain };
}

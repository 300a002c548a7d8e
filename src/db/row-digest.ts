import { hash } from 'node:crypto';

/** How many rows a table has, and a digest that is equal for equal rows in whatever order they come. */
export type RowCount = { rows: number; digest: string };

const newline = 0x0a;

/**
 * Counts the rows of COPY's text format, which has one line a row. The digest is the sum of the rows' SHA-256, in eight
 * 32-bit words: it shows what got lost, doubled or changed, and need not stand against an attacker (the file is sealed).
 */
export class RowDigest {
  #rows = 0;
  readonly #sum = new Uint32Array(8);
  #rest: Buffer = Buffer.alloc(0);

  update(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      const line = chunk.subarray(start, end);
      this.#add(start === 0 && this.#rest.length > 0 ? Buffer.concat([this.#rest, line]) : line);
      if (start === 0) this.#rest = Buffer.alloc(0);
      start = end + 1;
    }
    const rest = chunk.subarray(start);
    if (rest.length > 0) this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, rest]) : Buffer.from(rest);
  }

  result(): RowCount {
    return { rows: this.#rows, digest: Buffer.from(this.#sum.buffer).toString('hex') };
  }

  /** Counts what flows through. */
  async *through(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      this.update(chunk);
      yield chunk;
    }
  }

  #add(line: Buffer): void {
    const row = hash('sha256', line, 'buffer');
    for (let word = 0; word < 8; word++) this.#sum[word] = (this.#sum[word] ?? 0) + row.readUInt32LE(word * 4);
    this.#rows += 1;
  }
}

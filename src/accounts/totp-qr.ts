import { encode } from 'uqr';

/** A QR code as rows of squares, true where they are dark. The quiet zone around it is the view's. */
export function qrCode(text: string): boolean[][] {
  return encode(text, { ecc: 'M', border: 0 }).data;
}

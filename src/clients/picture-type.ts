/** The media type of a picture by its own first bytes, whatever a server calls it; undefined when it is none. */
export function pictureType(body: Buffer): string | undefined {
  const head = body.toString('latin1', 0, 12);
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (/^GIF8[79]a/.test(head)) return 'image/gif';
  if (/^RIFF....WEBP/s.test(head)) return 'image/webp';
  if (/^....ftypavi[fs]/s.test(head)) return 'image/avif';
  if (svgStart.test(body.toString('utf8', 0, 1024))) return 'image/svg+xml';
  return undefined;
}

/** No DOCTYPE with declarations of its own: entities in it could make a small file enormous. */
const svgStart = /^\uFEFF?\s*(<\?xml[^<>]*>\s*)?(<!--(?:[^-]|-(?!->))*-->\s*)*(<!DOCTYPE svg[^<>[]*>\s*)?<svg[\s>]/;

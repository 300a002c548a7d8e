/** Long enough for an authorization request, short enough for a header. */
const longest = 4096;
const mostLayers = 5;

/** Stands for this server while a path is read; never appears anywhere. */
const here = 'http://here.invalid';

/**
 * The path on this origin that `value` names, or undefined for anything else: other origins, `//host`, `/\host`, the
 * same in percent-encoding, control characters, several values (SECURITY 7). What comes back is safe in `Location`.
 */
export function safeReturnTo(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > longest || !URL.canParse(value, here)) return undefined;
  // URL parsers drop tabs and line ends and turn "\" into "/"; what they would mend is refused instead.
  if (!/^\/[!-[\]-~]*$/.test(value)) return undefined;
  const url = new URL(value, here);
  const path = fullyDecoded(url.pathname);
  if (url.origin !== here || path === undefined || /^\/[/\\]/.test(path)) return undefined;
  return url.pathname + url.search + url.hash;
}

/** A path after all layers of percent-encoding; undefined when one is broken, hides a control character or never ends. */
function fullyDecoded(path: string): string | undefined {
  let decoded = path;
  for (let layer = 0; layer < mostLayers; layer += 1) {
    const before = decoded;
    try {
      decoded = decodeURIComponent(before);
    } catch {
      return undefined;
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
    if (/[\u0000-\u001f\u007f]/.test(decoded)) return undefined;
    if (decoded === before) return decoded;
  }
  return undefined;
}

/** `path` with `?return_to=` when there is somewhere to return to. */
export function withReturnTo(path: string, returnTo: string | undefined): string {
  return returnTo === undefined ? path : `${path}?return_to=${encodeURIComponent(returnTo)}`;
}

/** Where a request asks to return to: `?return_to=`, which the pages carry on as a hidden field. */
export function returnToOf(req: { query: Record<string, unknown>; body?: unknown }): string | undefined {
  const body = (req.body ?? {}) as { return_to?: unknown };
  return safeReturnTo(req.query.return_to) ?? safeReturnTo(body.return_to);
}

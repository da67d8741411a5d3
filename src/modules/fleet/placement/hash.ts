/** FNV-1a, 32 bits, of UTF-8. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  const bytes = /^[\0-\x7f]*$/.test(text) ? undefined : Buffer.from(text, "utf8");
  const length = bytes?.length ?? text.length;
  for (let at = 0; at < length; at++) hash = Math.imul(hash ^ (bytes?.[at] ?? text.charCodeAt(at)), 0x01000193) >>> 0;
  return hash;
}

/** As deep as Go's JSON decoder goes. */
const maxDepth = 10_000;

/** The bracket at which a JSON text becomes deeper than upstream reads; `undefined` for all others. Text in strings does not count. */
export function tooDeepAt(text: string): string | undefined {
  // Each level takes a bracket: what is shorter cannot be so deep.
  if (text.length <= maxDepth) return undefined;
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === quote) index = endOfString(text, index);
    else if (code === openBracket || code === openBrace) depth++;
    else if (code === closeBracket || code === closeBrace) depth--;
    if (depth > maxDepth) return text[index];
  }
  return undefined;
}

/** Where the string that begins at `start` ends. */
function endOfString(text: string, start: number): number {
  let index = start + 1;
  for (; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === quote) break;
    if (code === backslash) index++;
  }
  return index;
}

const quote = 0x22;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

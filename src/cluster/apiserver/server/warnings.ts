const mostCharacters = 4096;
const longestOfMany = 256;

/** Warnings as they go out: each once, none with control characters, and where they are too long together, each cut short. */
export function shownWarnings(texts: readonly string[]): string[] {
  const unique = [...new Set(texts)].filter((text) => text !== "");
  const total = unique.reduce((sum, text) => sum + Array.from(text).length, 0);
  const fitting: string[] = [];
  let shown = 0;
  for (const text of unique) {
    const characters = Array.from(text);
    const cut = total > mostCharacters ? characters.slice(0, longestOfMany) : characters;
    if (shown >= mostCharacters || characters.some(isControl)) continue;
    shown += cut.length;
    fitting.push(cut.join(""));
  }
  return fitting;
}

function isControl(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return code < 32 || (code >= 127 && code < 160);
}

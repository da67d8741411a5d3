/** Whether a text fits a pattern: `*` is any number of characters, `?` one, a backslash takes the next one as it is. Time is bounded by the product of the lengths. */
export function matchesWildcard(text: string, pattern: string): boolean {
  const characters = Array.from(text);
  const parts = partsOf(pattern);
  let at = 0;
  let part = 0;
  let star = -1;
  let resume = 0;
  while (at < characters.length) {
    const wanted = parts[part];
    if (wanted !== undefined && wanted !== "many" && (wanted === "one" || wanted.is === characters[at])) {
      at++;
      part++;
    } else if (wanted === "many") {
      star = part++;
      resume = at;
    } else if (star >= 0) {
      part = star + 1;
      at = ++resume;
    } else return false;
  }
  return parts.slice(part).every((each) => each === "many");
}

function partsOf(pattern: string): ("many" | "one" | { readonly is: string })[] {
  const parts: ("many" | "one" | { readonly is: string })[] = [];
  const characters = Array.from(pattern);
  for (let index = 0; index < characters.length; index++) {
    const character = characters[index] ?? "";
    if (character === "*") {
      if (parts.at(-1) !== "many") parts.push("many");
    } else if (character === "?") parts.push("one");
    else if (character === "\\" && index + 1 < characters.length) parts.push({ is: characters[++index] ?? "" });
    else parts.push({ is: character });
  }
  return parts;
}

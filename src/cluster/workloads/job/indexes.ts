/** Largest index of an Indexed Job that is believed. */
const maxIndex = 1_000_000;

/** Reads `0,2-4` into numbers below `end`; parts that cannot be read are left out. */
export function parseIndexes(text: string | undefined, end = maxIndex + 1): Set<number> {
  const indexes = new Set<number>();
  for (const part of (text ?? "").split(",")) {
    const [, first, last = first] = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(part.trim()) ?? [];
    if (first === undefined) continue;
    for (let index = Number(first); index <= Math.min(Number(last), end - 1); index += 1) indexes.add(index);
  }
  return indexes;
}

/** Writes numbers as `0,2-4`: three and more in a row become a range, two stay apart by a comma or a dash alike upstream's `1,2`. */
export function formatIndexes(indexes: ReadonlySet<number>): string {
  const parts: string[] = [];
  const sorted = [...indexes].toSorted((a, b) => a - b);
  for (let i = 0; i < sorted.length; i += 1) {
    const first = sorted[i];
    let last = first;
    while (last !== undefined && sorted[i + 1] === last + 1) {
      i += 1;
      last = sorted[i];
    }
    if (first === undefined || last === undefined) continue;
    parts.push(first === last ? `${first}` : last === first + 1 ? `${first},${last}` : `${first}-${last}`);
  }
  return parts.join(",");
}

/** As much of XML as the listings of object stores are written in. Reading takes time in proportion to the text, whatever is in it. */

/** The contents of all elements of a name that have no elements of that name within. */
export const elements = (text: string, name: string): string[] => [...contents(text, name)];

/** The text of the first element of a name that has no elements within; empty where there is none. */
export function textIn(text: string, name: string): string {
  for (const inner of contents(text, name)) if (!inner.includes("<")) return decodeXml(inner);
  return "";
}

function* contents(text: string, name: string): Generator<string> {
  const [opening, closing] = [`<${name}`, `</${name}>`];
  for (let at = text.indexOf(opening); at !== -1; at = text.indexOf(opening, at)) {
    at += opening.length;
    // Else a longer name that begins so.
    if (!/[\s>]/.test(text[at] ?? "")) continue;
    const from = text.indexOf(">", at) + 1;
    const to = text.indexOf(closing, from);
    if (from === 0 || to === -1) return;
    yield text.slice(from, to);
    at = to + closing.length;
  }
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function decodeXml(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|([a-z]{2,4}));/g,
    (all, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return ENTITIES[name] ?? all;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : all;
    },
  );
}

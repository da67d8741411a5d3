/** An XML element to be written: its text, or its children by name (a list repeats the element; `undefined` leaves it out). */
export type XmlValue =
  | string
  | number
  | boolean
  | { readonly [name: string]: XmlValue | readonly XmlValue[] | undefined };

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";

/** A document as S3 sends it. */
export function xmlDocument(name: string, value: XmlValue, { namespace = true } = {}): string {
  const attribute = namespace ? ` xmlns="${NAMESPACE}"` : "";
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name}${attribute}>${contentOf(value)}</${name}>`;
}

function contentOf(value: XmlValue): string {
  if (typeof value !== "object") return escapeText(String(value));
  return Object.entries(value)
    .map(([name, member]) => {
      if (member === undefined) return "";
      return isList(member) ? member.map((item) => element(name, item)).join("") : element(name, member);
    })
    .join("");
}

function isList(value: XmlValue | readonly XmlValue[]): value is readonly XmlValue[] {
  return Array.isArray(value);
}

function element(name: string, value: XmlValue): string {
  return `<${name}>${contentOf(value)}</${name}>`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\r": "&#13;",
};

function escapeText(text: string): string {
  return text.replace(/[&<>"\r]/g, (c) => ESCAPES[c] ?? c);
}

/** An element that was read. Attributes and comments are left out. */
export interface XmlElement {
  readonly name: string;
  readonly text: string;
  readonly children: readonly XmlElement[];
}

const MAX_DEPTH = 16;

interface OpenElement {
  readonly name: string;
  text: string;
  readonly children: XmlElement[];
}

/** Reads the small documents of S3; `undefined` for what is no well-formed XML, has a DTD, or is nested too deep. */
export function parseXml(source: string): XmlElement | undefined {
  const root = openElement("");
  const stack: OpenElement[] = [root];
  const token = /<\?[\s\S]*?\?>|<!--[\s\S]*?-->|<(\/?)([\w:.-]+)(?:\s[^<>]*?)?(\/?)>|([^<]+)/y;
  while (token.lastIndex < source.length) {
    const match = token.exec(source);
    if (match === null || !takeToken(stack, match)) return undefined;
  }
  return stack.length === 1 && root.children.length === 1 ? root.children[0] : undefined;
}

function openElement(name: string): OpenElement {
  return { name: localName(name), text: "", children: [] };
}

/** Whether the token fits where it stands. */
function takeToken(
  stack: OpenElement[],
  [, closing, name, selfClosing, text]: readonly (string | undefined)[],
): boolean {
  const top = stack.at(-1);
  if (top === undefined) return false;
  if (text !== undefined) top.text += unescapeText(text);
  if (name === undefined) return true;
  if (closing === "/") {
    stack.pop();
    stack.at(-1)?.children.push(top);
    return top.name === localName(name) && stack.length > 0;
  }
  if (selfClosing === "/") top.children.push(openElement(name));
  else stack.push(openElement(name));
  return stack.length <= MAX_DEPTH;
}

function localName(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescapeText(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|(\w+));/g,
    (whole, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return ENTITIES[name] ?? whole;
      const code = Number.parseInt(hex ?? decimal ?? "", hex === undefined ? 10 : 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}

/** Text of the first child with this name. */
export function childText(element: XmlElement, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}

import { ArgosyError } from "../errors/index.js";
import type { ResponseHead } from "../http1/index.js";

/** RFC 9110 5.6.2. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const FRAMING = new Set(["content-length", "transfer-encoding", "connection"]);
const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/** Whether a text can be sent as a field's value: it cannot end its field, and is of one byte a character. */
export const isFieldValue = (text: string): boolean => !NOT_A_VALUE.test(text);

/**
 * A request's head as `OutgoingRequest` has it. A `host` among the fields goes before the address's; what says where the body ends is not the caller's
 * to say; names and passwords in the address are the caller's to use. Throws an `ArgosyError` of code `InvalidField`.
 */
export function requestHead(method: string, url: URL, fields: Readonly<Record<string, string>>): string {
  let host = url.host;
  let lines = "";
  for (const [name, value] of Object.entries(fields)) {
    if (!NAME.test(name) || !isFieldValue(value))
      throw new ArgosyError("InvalidField", `field ${name} has characters that cannot be sent`);
    const lower = name.toLowerCase();
    if (lower === "host") host = value;
    else if (!FRAMING.has(lower)) lines += `${name}: ${value}\r\n`;
  }
  return `${method} ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${host}\r\n${lines}`;
}

/** The fields of an answer by lower-case name; those that are given several times one after a comma. */
export function answerFields({ fields }: ResponseHead): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of fields.rest.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = found.get(name);
    found.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return found;
}

import type { ResponseHead } from "../http1/index.js";

const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/** Whether a text can be sent as a field's value: it cannot end its field, and is of one byte a character. */
export const isFieldValue = (text: string): boolean => !NOT_A_VALUE.test(text);

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

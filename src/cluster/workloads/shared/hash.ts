import type { Json } from "../../../kernel/kinds/index.js";
import { isObject, toJson } from "../../../kernel/schema/index.js";

const alphabet = "bcdfghjklmnpqrstvwxz2456789";

/** JSON with members in order, so that equal values have equal text. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.keys(value)
    .toSorted()
    .flatMap((key) => {
      const member = value[key];
      return member === undefined ? [] : [`${JSON.stringify(key)}:${canonicalJson(member)}`];
    });
  return `{${members.join(",")}}`;
}

/** A short name for a value (FNV-1a, 32 bit) in the alphabet of generated names; `collisions` gives another one. */
export function hashOf(value: object, collisions = 0): string {
  const bytes = Buffer.from(canonicalJson(toJson(value)) + (collisions === 0 ? "" : `#${collisions}`));
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return Array.from(String(hash), (digit) => alphabet.charAt(digit.charCodeAt(0) % alphabet.length)).join("");
}

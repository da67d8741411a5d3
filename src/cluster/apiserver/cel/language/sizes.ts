import { ObjectValue } from "./values.js";

/** Characters, bytes or members; one for what has no size. */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return lengthOf(value);
  if (value instanceof Uint8Array || Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  return value instanceof ObjectValue ? Object.keys(value.raw).length : 1;
}

/** Characters of a text, not its UTF-16 units. */
export function lengthOf(text: string): number {
  let count = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit >= 0xd800 && unit < 0xdc00) count -= 1;
  }
  return count;
}

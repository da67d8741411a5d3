/**
 * Values written as the reference server (a Python program) writes them into messages and tags, since clients and their tests
 * read those texts.
 */
import type { Json } from "../../kernel/kinds/object.js";

/** JSON with a space after `,` and `:` and everything beyond ASCII escaped. */
export function toPythonJson(value: Json | undefined): string {
  if (Array.isArray(value)) return `[${value.map(toPythonJson).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    return `{${members.map(([name, member]) => `${toPythonJson(name)}: ${toPythonJson(member)}`).join(", ")}}`;
  }
  const text = JSON.stringify(value ?? null);
  return text.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A string between quotes as Python shows it: single ones, unless the text has single and no double ones. */
export function toPythonQuoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t");
  return `${quote}${quote === "'" ? escaped.replaceAll("'", "\\'") : escaped}${quote}`;
}

/** Bytes as Python shows them. */
export function toPythonBytes(bytes: Uint8Array): string {
  const text = Array.from(bytes, (byte) =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`,
  ).join("");
  return `b'${text}'`;
}

/** A float: always with a point or an exponent. */
export function toPythonFloat(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/** The name of a JSON value's type in Python. */
export function pythonTypeOf(value: Json): string {
  if (value === null) return "NoneType";
  if (typeof value === "string") return "str";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float";
  return Array.isArray(value) ? "list" : "dict";
}
